"""How long `runner --help` takes, beside a bare interpreter and the imports it avoids.

    python benchmarks/startup.py [--rounds 15]

Whole processes, taken in turn so that noise hits all alike; the median and its ratio to the bare interpreter.
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "runner --help": ["-m", "runner", "--help"],
    "runner --version": ["-m", "runner", "--version"],
    "import click": ["-c", "import click"],
    "import pydantic": ["-c", "import pydantic"],
    "import boto3": ["-c", "import boto3"],
    "import kubernetes": ["-c", "import kubernetes"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            taken[name].append(seconds(arguments))
    bare = statistics.median(taken["python -c pass"])
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:20} {median * 1000:7.0f} ms  {median / bare:5.1f}x")


if __name__ == "__main__":
    main()
