"""What an attempt's exit code is: one pure function of what happened."""

from dataclasses import dataclass
from signal import Signals

from runner.errors import RunFailed, RunnerError, Stopped
from runner.runs.documents import ExitRecord
from runner.runs.outcome import MORE_MEMORY
from runner.supervise.node import Loss

KILLED = 137
_SIGNALLED = range(129, 160)

_SIGNALS: dict[int, tuple[str, str]] = {
    Signals.SIGKILL: (
        "was killed (SIGKILL), which the kernel does when host memory runs out",
        MORE_MEMORY,
    ),
    Signals.SIGBUS: (
        "crashed (SIGBUS), as happens when shared memory is full",
        "Give the node more shared memory (/dev/shm) or memory.",
    ),
    Signals.SIGSEGV: (
        "crashed (SIGSEGV) in native code",
        "Compare the versions in env.json with the image's.",
    ),
    Signals.SIGILL: ("crashed (SIGILL): this processor lacks an instruction that the build uses", ""),
}


@dataclass(frozen=True)
class Ending:
    """All that the exit code depends on.

    Attributes:
        committed: the result of this kind of job is in the store.
        failure: why the supervisor itself ended the attempt: fenced, cancelled, store down, no progress.
        record: the program's own word.
        status: exit code of the program's command, 128 + n after signal n.
        signal: the signal that killed a rank, by the launcher's words.
        stopped: the supervisor was told to stop.
        loss: another node of the Job is gone.
        oom_kills: processes that the kernel killed for memory during the attempt.
        peak: the most host memory used, bytes.
        limit: host memory allowed, bytes.
        tail: the last lines of output.
    """

    committed: bool
    failure: RunnerError | None = None
    record: ExitRecord | None = None
    status: int = 0
    signal: int | None = None
    stopped: bool = False
    loss: Loss | None = None
    oom_kills: int = 0
    peak: int | None = None
    limit: int | None = None
    tail: str = ""


def verdict(ending: Ending) -> ExitRecord:
    """The attempt's exit code with its cause and remedy.

    A committed result is a success whatever came after it. Then the supervisor's own reason counts, then the
    program's record, then how its processes died (first, where the record only tells that a peer is gone), then
    what another node says of its own end. 0 without a result does not exist.
    """
    if ending.committed:
        return ExitRecord(code=0)
    if ending.failure is not None:
        return failed(ending.failure)
    killer = _killer(ending)
    if (said := _said(ending, killer)) is not None:
        return said
    if ending.stopped and not ending.oom_kills:
        return failed(Stopped("told to stop", "Submit again to continue from the newest checkpoint."))
    return _speechless(ending) if killer is None else _killed(killer, ending)


def failed(error: RunnerError) -> ExitRecord:
    """The record of an error that the supervisor met."""
    return ExitRecord(code=error.container_code, cause=error.message, remedy=error.remedy)


def _said(ending: Ending, killer: int | None) -> ExitRecord | None:
    """What the program or another node says of the end; None when neither tells more than how a process died."""
    record = ending.record if ending.record is not None and ending.record.code != 0 else None
    if record is not None and not _only_a_loss(record):
        return record
    if killer is not None:
        return None
    loss = ending.loss
    if loss is not None and loss.is_final:
        return loss.outcome
    if loss is not None and not ending.stopped and (record is None or loss.explains):
        return loss.outcome
    return record


def _killer(ending: Ending) -> int | None:
    """The signal that ended the program, unless it was the supervisor's own."""
    if ending.stopped and not ending.oom_kills:
        return None
    if ending.loss is not None and not ending.oom_kills:
        # What was left of the program was told to go, then killed; only the launcher can tell of a death before.
        return None if ending.signal == Signals.SIGTERM else ending.signal
    return ending.signal or (ending.status - 128 if ending.status in _SIGNALLED else None)


def _only_a_loss(record: ExitRecord) -> bool:
    """Whether the record merely says that a peer is gone: how it went is the better answer."""
    return record.code == Stopped.container_code


def _killed(number: int, ending: Ending) -> ExitRecord:
    if ending.oom_kills:
        return _out_of_memory(ending)
    name = Signals(number).name if number in set(Signals) else f"signal {number}"
    what, remedy = _SIGNALS.get(number, (f"was ended by {name}", ""))
    return ExitRecord(
        code=128 + number, cause=f"a process of the program {what}", remedy=remedy, detail=ending.tail
    )


def _out_of_memory(ending: Ending) -> ExitRecord:
    limit = f" of {_gib(ending.limit)}" if ending.limit else ""
    peak = f", peak {_gib(ending.peak)}" if ending.peak else ""
    cause = f"out of host memory: the kernel killed a process at the limit{limit}{peak}"
    return ExitRecord(code=KILLED, cause=cause, remedy=MORE_MEMORY, detail=ending.tail)


def _speechless(ending: Ending) -> ExitRecord:
    if ending.record is not None or ending.status == 0:
        cause = "the program ended well but handed over no result"
    else:
        cause = f"the program ended with status {ending.status} and did not say why"
    return ExitRecord(
        code=RunFailed.container_code,
        cause=cause,
        remedy="Read the last lines of `runner logs RUN`.",
        detail=ending.tail,
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def sentence(record: ExitRecord) -> str:
    """How an attempt ended, in one line of its log."""
    if record.code == 0:
        return "done"
    return " ".join(part for part in (f"exit {record.code}: {record.cause}.", record.remedy) if part)
