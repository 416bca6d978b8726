"""How an attempt ended, written where people and machines look: the store, the kubelet, the index."""

import json
from contextlib import suppress
from pathlib import Path

from runner.errors import RunnerError
from runner.runs.documents import ExitRecord
from runner.runs.index import record_state
from runner.runs.layout import JobKind
from runner.runs.outcome import PERMANENT
from runner.supervise.companion import CompanionDuty
from runner.supervise.duty import RenderDuty, RunDuty
from runner.supervise.options import Options

RUNNING = {"train": "running", "infer": "publishing"}
"""State of the run while a Job of this kind runs; a render changes no state."""

_RESULT = {"train": "trained", "infer": "succeeded"}
TERMINATION_BYTES = 4096
"""The kubelet keeps no more of a container's last words."""


def record_end(
    duty: RunDuty | RenderDuty | CompanionDuty, options: Options, record: ExitRecord, *, cancelled: bool
) -> None:
    """Write exit.json, the run's state and the container's last words.

    A store that is down changes nothing any more: the exit code tells too.
    """
    write_termination_log(options.termination_log, record)
    with suppress(RunnerError):
        duty.store.put(duty.attempt.exit, record.to_bytes())
        if isinstance(duty, CompanionDuty):
            return  # the run's state is index 0's to say
        state = end_state(options.kind, record.code, cancelled=cancelled)
        if state is not None:
            record_state(duty.store, options.layout.run_id, state)


def end_state(kind: JobKind, code: int, *, cancelled: bool) -> str | None:
    """What a Job's end makes of its run; None when somebody else will go on with it."""
    if kind not in _RESULT:
        return None
    if code == 0:
        return _RESULT[kind]
    if cancelled:
        return "cancelled"
    return "failed" if code in PERMANENT else None


def write_termination_log(path: Path, record: ExitRecord) -> None:
    """Leave the cause for `kubectl describe`, where the kubelet has mounted a file for it."""
    if not path.is_file():
        return
    words = {"code": record.code, "cause": record.cause, "remedy": record.remedy}
    text = json.dumps(words, ensure_ascii=False)
    if len(text.encode()) > TERMINATION_BYTES:
        text = json.dumps(words | {"cause": record.cause[:1000], "remedy": record.remedy[:500]})
    with suppress(OSError):
        path.write_text(text, "utf-8")
