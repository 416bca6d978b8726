"""What GitHub Actions shows of a command: annotations on the run's page, and the step's summary.

GitHub reads workflow commands from both streams of a step, so they go to stderr: stdout is data.
"Workflow commands for GitHub Actions", docs.github.com: escaping, and `GITHUB_STEP_SUMMARY`, a file to append Markdown to.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from runner.errors import Cancelled, RunFailed, RunnerError, Stopped, TimeoutReached

if TYPE_CHECKING:
    from runner.services.drawing import RenderResult
    from runner.services.result import RunResult

_ENDS: tuple[tuple[type[RunnerError], str], ...] = (
    (Cancelled, "was cancelled"),
    (TimeoutReached, "goes on"),
    (Stopped, "was interrupted"),
    (RunFailed, "failed"),
)


def in_actions() -> bool:
    """Whether this process is a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def annotation(level: Literal["error", "warning"], title: str, text: str) -> str:
    """The line that makes an annotation."""
    return f"::{level} title={_escaped(title, property_value=True)}::{_escaped(text)}"


def _escaped(text: str, *, property_value: bool = False) -> str:
    for character in "%\r\n" + (":," if property_value else ""):
        text = text.replace(character, f"%{ord(character):02X}")
    return text


@dataclass(slots=True)
class StepSummary:
    """The story of one command, told as far as it is known when the command ends.

    Attributes:
        command: `submit`, `wait` or `render`.
        run_id: the run; empty before there is one.
        store: URL of its store.
        result: where the run stands.
        published: names of its published files.
        drawn: what its render has come to.
    """

    command: str
    run_id: str = ""
    store: str = ""
    result: "RunResult | None" = None
    published: Sequence[str] = ()
    drawn: "RenderResult | None" = None

    def about(self, run_id: str, store: str) -> None:
        """Say which run it is."""
        self.run_id, self.store = run_id, store

    @property
    def told(self) -> bool:
        """Whether there is anything to show of a command that ended well."""
        return self.result is not None or self.drawn is not None

    def markdown(self, error: RunnerError | None = None) -> str:
        """The summary."""
        blocks = [f"### {self._heading(error)}", self._table(), self._files()]
        if error is not None:
            blocks.append(_fenced(error.message))
            blocks.append(f"**What to do:** {_plain(error.remedy)}" if error.remedy else "")
        blocks.append(self._commands(failed=error is not None))
        return "\n\n".join(block for block in blocks if block) + "\n"

    def _heading(self, error: RunnerError | None) -> str:
        subject = f"Run {self.run_id}" if self.run_id else f"runner {self.command}"
        if error is not None:
            how = next((text for kind, text in _ENDS if isinstance(error, kind)), "could not go on")
            return f"{subject} {how}"
        if self.drawn is not None and self.result is None:
            return f"{subject}: render {self.drawn.render} is drawn"
        return f"{subject}: {self.result.state if self.result else 'done'}"

    def _table(self) -> str:
        rows: dict[str, object] = {"store": self.store}
        if self.result is not None:
            steps = ", ".join(map(str, self.result.checkpoints))
            rows |= {"state": self.result.state, "page": self.result.page, "checkpoints": steps}
        if self.drawn is not None:
            rows |= {
                "render": self.drawn.render,
                "pictures": f"{self.drawn.drawn} of {self.drawn.pictures}",
                "gallery": self.drawn.gallery,
            }
        lines = [f"| {name} | {_code(str(value))} |" for name, value in rows.items() if value]
        return "\n".join(["| | |", "|---|---|", *lines]) if lines else ""

    def _files(self) -> str:
        """One entry per folder: a run may publish hundreds of pictures."""
        count = Counter(name.partition("/")[0] + ("/" if "/" in name else "") for name in self.published)
        shown = [_code(name) + _how_many(name, n) for name, n in sorted(count.items())]
        return f"**Published:** {', '.join(shown)}" if shown else ""

    def _commands(self, *, failed: bool) -> str:
        if not self.run_id:
            return ""
        store = f" --store {self.store}" if self.store else ""
        names = ("explain", "logs") if failed else ("status",)
        lines = [f"runner {name} {self.run_id}{store}" for name in names]
        if self.published:
            lines = [f"runner fetch {self.run_id}{store}"]
        if self.drawn is not None:
            lines.append(f"runner fetch {self.run_id}{store} --render {self.drawn.render}")
        return _fenced("\n".join(lines), "sh")


@contextmanager
def step_summary(command: str) -> Iterator[StepSummary]:
    """Append what becomes of a command to the step's summary; outside GitHub Actions nothing is written."""
    summary = StepSummary(command)
    try:
        yield summary
    except RunnerError as error:
        _append(summary.markdown(error))
        raise
    if summary.told:
        _append(summary.markdown())


def _how_many(name: str, count: int) -> str:
    return f" ({count} file{'' if count == 1 else 's'})" if name.endswith("/") else ""


def _append(markdown: str) -> None:
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown + "\n")
    except OSError as error:  # a summary must not decide over a run
        click.echo(f"the step's summary could not be written: {error}", err=True)


def _fenced(text: str, language: str = "text") -> str:
    """A block that nothing in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str) -> str:
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _plain(text: str) -> str:
    """Words of ours and of a file's, so that neither becomes markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text).replace("\n", " ")
