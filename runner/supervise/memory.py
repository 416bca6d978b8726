"""How much host memory the program has, used and was refused (cgroup v2, then v1, then what processes say)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUP_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED_V1 = 2**60


@dataclass(frozen=True, slots=True)
class Memory:
    """Host memory of the container, in bytes; None where the system does not say.

    Attributes:
        peak: the most ever used since the container began.
        limit: where the kernel starts killing.
        oom_kills: processes the kernel has killed for memory.
    """

    peak: int | None = None
    limit: int | None = None
    oom_kills: int | None = None


def container_memory(root: Path = CGROUP_ROOT) -> Memory:
    """What the control group says; in a container `root` is the container's own group."""
    if (root / "cgroup.controllers").exists():
        events = _fields(root / "memory.events")
        return Memory(_number(root / "memory.peak"), _number(root / "memory.max"), events.get("oom_kill"))
    group = root / "memory"
    limit = _number(group / "memory.limit_in_bytes")
    kills = _fields(group / "memory.oom_control").get("oom_kill")
    bounded = limit if limit is not None and limit < _UNLIMITED_V1 else None
    return Memory(_number(group / "memory.max_usage_in_bytes"), bounded, kills)


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    """The resident sets of these processes together; pages they share count once for each."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    rows = [line.split() for line in _text(path).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}  # noqa: PLR2004  name and value
