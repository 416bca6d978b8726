"""What one check found, and running checks so that none hides another."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from runner.errors import Forbidden, InvalidSpec, RunnerError, StoreUnreachable

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found.

    Attributes:
        name: of the check.
        verdict: `failed` when a run would fail, or wait for ever; `warning` for what is doubtful or cannot be seen.
        sentence: what was found.
        remedy: what to change; empty when nothing has to be.
        exit_code: of `runner doctor`, were this all that failed; 0 unless it failed.
    """

    name: str
    verdict: Verdict
    sentence: str
    remedy: str = ""
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {key: value for key, value in asdict(self).items() if key != "exit_code"}


Check = Callable[[], Iterable[Result]]


def ok(name: str, sentence: str) -> Result:
    """Nothing has to be mended."""
    return Result(name, "ok", sentence)


def warning(name: str, sentence: str, remedy: str = "") -> Result:
    """Doubtful, or out of sight from here."""
    return Result(name, "warning", sentence, remedy)


def failed(name: str, sentence: str, remedy: str) -> Result:
    """A run would fail, or wait for ever."""
    return Result(name, "failed", sentence, remedy, InvalidSpec.exit_code)


def of_error(name: str, error: RunnerError) -> Result:
    """The failure that a run would meet as this error."""
    codes = [kind.exit_code for kind in (Forbidden, StoreUnreachable) if isinstance(error, kind)]
    return Result(name, "failed", error.message, error.remedy, *(codes or [InvalidSpec.exit_code]))


def diagnosed(checks: Iterable[tuple[str, Check]]) -> Iterator[Result]:
    """Run each check; one that ends in an error has failed, and the next one follows."""
    for name, check in checks:
        try:
            yield from check()
        except RunnerError as error:
            yield of_error(name, error)


def exit_code(results: Iterable[Result]) -> int:
    """0 when nothing failed; 5 or 6 when all that failed is permissions, or something that does not answer; else 7."""
    codes = {result.exit_code for result in results if result.verdict == "failed"}
    if len(codes) == 1:
        return codes.pop()
    return InvalidSpec.exit_code if codes else 0
