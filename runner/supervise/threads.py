"""How a program's OpenMP threads wait for each other, and how many there are.

GNU's OpenMP lets a thread that waits spin, which saves microseconds on a machine that does nothing else. Beside
another process it burns the very time slice that the thread it waits for needs: training the built-in model on two
cores with two busy neighbours came to 2 % of its speed. `benchmarks/threads.py` measures it.
"""

from collections.abc import Mapping

SMALL = 128
"""Pixels a side up to which a step is so short that threads cost more than they bring."""
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def thread_settings(environ: Mapping[str, str], resolution: int) -> dict[str, str]:
    """Variables for a program; what somebody has set already stays.

    Args:
        environ: what the program inherits.
        resolution: pixels a side that the model works at.
    """
    wanted = {} if any(name in environ for name in _WAITING) else {"OMP_WAIT_POLICY": "passive"}
    if resolution <= SMALL and "OMP_NUM_THREADS" not in environ:
        wanted["OMP_NUM_THREADS"] = "1"
    return wanted
