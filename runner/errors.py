"""The errors a person sees, and the exit codes that go with them.

Every error says what is wrong and where, and carries a remedy: the flag, field or command that mends it.
They are caught in two places only: `runner.cli` turns them into the CLI's exit code, the container mains
(`runner.supervise`, `runner.train`, `runner.infer`) into the container's.

    RunnerError                 cli 1   container 70
    ├── Usage                       2             64
    ├── NotFound                    3             66
    │   └── InputMissing            7             66   photos, model, checkpoint named by the spec
    ├── Conflict                    4             64
    ├── Forbidden                   5             77
    ├── StoreUnreachable            6             69
    ├── InvalidSpec                 7             64
    ├── BadData                     7             65   a photo that is no image, a damaged object
    ├── RunFailed                   1             70
    │   ├── DeadlineReached         9             70   the cluster's deadline, from max_runtime or max_cost
    │   ├── Diverged                1             70
    │   └── OutOfDeviceMemory       1             71
    ├── DeviceMismatch              7             72
    ├── DiskFull                    1             74
    ├── Fenced                      8             73   a newer attempt owns the run, or it was cancelled
    ├── Stopped                   130             75   told to stop; the newest committed checkpoint is sound
    ├── NoProgress                  1             78
    ├── Cancelled                   8             73
    └── TimeoutReached            124             75
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

_PASSWORD = re.compile(r"(:/+)[^/\s@]+:[^/\s@]+@")
"""User and password in a URL, whose slashes a path may have lost."""


class RunnerError(Exception):
    """A failure with a sentence for a person and a remedy.

    Both reach terminals, logs and stores, so a password in a URL that they quote is left out.

    Args:
        message: what is wrong and where.
        remedy: what to change; an imperative sentence, or empty when nothing can be done.

    Attributes:
        about: JSON-able data for programs: the run that failed, the problems of a spec.
    """

    exit_code: ClassVar[int] = 1
    container_code: ClassVar[int] = 70

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = without_passwords(message)
        self.remedy = without_passwords(remedy)
        self.about: Mapping[str, Any] = {}
        super().__init__(self.message)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what it is about, and the error itself."""
        remedy = self.remedy or self.about.get("remedy")
        return {**self.about, "error": self.message, "remedy": remedy, "exit_code": self.exit_code}

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


def without_passwords(text: str) -> str:
    """The text without the user and password of any URL in it."""
    return _PASSWORD.sub(r"\1(not shown)@", text)


class Usage(RunnerError):
    """The command line does not make sense."""

    exit_code = 2
    container_code = 64


class NotFound(RunnerError):
    """No such run, object or checkpoint."""

    exit_code = 3
    container_code = 66


class InputMissing(NotFound):
    """Something the spec names is not there: a photo folder, a model."""

    exit_code = 7


class Conflict(RunnerError):
    """What is asked contradicts what exists."""

    exit_code = 4
    container_code = 64


class Forbidden(RunnerError):
    """The credentials are missing, wrong or not enough."""

    exit_code = 5
    container_code = 77


class StoreUnreachable(RunnerError):
    """The store or the cluster does not answer."""

    exit_code = 6
    container_code = 69


class InvalidSpec(RunnerError):
    """The spec is wrong: a key, a value, a combination."""

    exit_code = 7
    container_code = 64


class BadData(RunnerError):
    """A file is not what it should be."""

    exit_code = 7
    container_code = 65


class RunFailed(RunnerError):
    """The run failed for good."""


class DeadlineReached(RunFailed):
    """The Job ran into its deadline, which `resources.max_runtime` or `resources.max_cost` sets."""

    exit_code = 9


class Diverged(RunFailed):
    """A NaN or an infinity in latents, loss or gradients."""

    container_code = 70


class OutOfDeviceMemory(RunFailed):
    """The accelerator's memory is too small for these options."""

    container_code = 71


class DeviceMismatch(RunnerError):
    """The device is not the one the run was resolved for, or is unhealthy."""

    exit_code = 7
    container_code = 72


class DiskFull(RunnerError):
    """A local write failed."""

    container_code = 74


class Fenced(RunnerError):
    """A newer attempt owns the run."""

    exit_code = 8
    container_code = 73


class Stopped(RunnerError):
    """Told to stop; the newest committed checkpoint is sound."""

    exit_code = 130
    container_code = 75


class NoProgress(RunFailed):
    """Three attempts in a row committed nothing."""

    container_code = 78


class Cancelled(RunnerError):
    """The run was cancelled."""

    exit_code = 8
    container_code = 73


class TimeoutReached(RunnerError):
    """`--timeout` passed; the run goes on."""

    exit_code = 124
    container_code = 75
