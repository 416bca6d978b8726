"""`python -m runner.train --run URL --work DIR`, started by `accelerate launch` under `runner.supervise`."""

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Read the two arguments and train."""
    parser = argparse.ArgumentParser(prog="python -m runner.train", description=__doc__)
    parser.add_argument("--run", required=True, help="URL of the run, <store>/runs/<run id>")
    parser.add_argument("--work", required=True, type=Path, help="directory that the supervisor prepared")
    arguments = parser.parse_args()

    from runner.train.program import run  # torch takes seconds; a wrong command line should not

    return run(arguments.run, arguments.work.resolve())


if __name__ == "__main__":
    sys.exit(main())
