"""What is wrong with a folder of photos, as values."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from runner.errors import BadData


class Severity(StrEnum):
    """Whether a finding stops the run."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a person should know of a folder of photos.

    Attributes:
        severity: errors stop the run, warnings do not.
        file: the name in the folder; None when it is about the whole folder.
        message: what it is, a clause that follows the file's name.
        remedy: what to do, a sentence.
    """

    severity: Severity
    file: str | None
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file or 'the folder'} {self.message}. {self.remedy}"


def error(file: str | None, message: str, remedy: str) -> Finding:
    """A finding that stops the run."""
    return Finding(Severity.ERROR, file, message, remedy)


def warning(file: str | None, message: str, remedy: str) -> Finding:
    """A finding that does not stop the run."""
    return Finding(Severity.WARNING, file, message, remedy)


def raise_errors(url: str, findings: Iterable[Finding]) -> None:
    """Raise one error that lists every finding of severity error; none, no raise.

    Raises:
        runner.errors.BadData: there is at least one.
    """
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if not errors:
        return
    listed = "".join(f"\n  {finding}" for finding in errors)
    message = f"{counted(len(errors), 'file')} in {url} cannot be used:{listed}"
    wrong = BadData(message, "Mend or remove what is listed, then run the same command again.")
    wrong.about = {"problems": [{**asdict(finding), "folder": url} for finding in errors]}
    raise wrong


def counted(count: int, noun: str) -> str:
    """`1 photo`, `2 photos`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
