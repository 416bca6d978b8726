"""`python -m runner.supervise {train|infer|render|follow} --run URL --job K --spec-sha256 HEX`: the container's main."""

import signal
import sys
import threading
from collections.abc import Sequence

from runner.errors import RunnerError
from runner.runs.documents import ExitRecord
from runner.supervise.attempt import Programs, attempt, product_program
from runner.supervise.follow import follow
from runner.supervise.guard import become_subreaper, kill_descendants
from runner.supervise.options import TERMINATION_LOG, parse_options
from runner.supervise.record import write_termination_log
from runner.supervise.verdict import failed, sentence


def main(arguments: Sequence[str], program: Programs = product_program) -> int:
    """Make one attempt; the exit code of docs/architecture.md.

    Args:
        arguments: the command line.
        program: chooses what to run.
    """
    # Should the guard itself be killed, what it guarded becomes ours.
    become_subreaper()
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # As PID 1 there is no default action: without a handler the signal would be lost.
        signal.signal(number, lambda *_: told.set())
    try:
        options = parse_options(arguments)
        return (follow(options, told) if options.kind == "follow" else attempt(options, told, program)).code
    except RunnerError as error:
        record = failed(error)
    finally:
        kill_descendants()
    _say(record)
    return record.code


def _say(record: ExitRecord) -> None:
    """An attempt that could not even begin has no log in the store."""
    sys.stderr.write(sentence(record) + "\n")
    write_termination_log(TERMINATION_LOG, record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
