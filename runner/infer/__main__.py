"""`python -m runner.infer publish|render --run URL --work DIR`, started by `runner.supervise`; `export` by `runner export`."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from runner.runs.handover import JobPaper


def main() -> int:
    """Read the arguments and do it."""
    arguments = _parser().parse_args()
    from runner.infer.program import run  # torch takes seconds; a wrong command line should not

    if arguments.mode == "export":
        (arguments.work / "job.json").write_bytes(export_paper(arguments.run, os.environ).to_bytes())
    return run(arguments)


def export_paper(run_url: str, environ: Mapping[str, str]) -> JobPaper:
    """What a supervisor would write, for a program that has none: the environment says where the store is."""
    return JobPaper(
        run=run_url,
        kind="infer",
        k=1,
        attempt="export",
        endpoint=environ.get("DREAMBOOTH_STORE_ENDPOINT"),
        region=environ.get("DREAMBOOTH_STORE_REGION"),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runner.infer", description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True)
    for mode in ("publish", "render", "export"):
        modes.add_parser(mode).add_argument("--run", required=True, help="<store>/runs/<run id>")
        text = "directory that whoever starts it prepared"
        modes.choices[mode].add_argument("--work", required=True, type=Path, help=text)
    modes.choices["render"].add_argument("--shard", type=int, default=0, help="counted from 0")
    _add_export_options(modes.choices["export"])
    return parser


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    forms = ("diffusers", "safetensors", "ckpt", "lora")
    parser.add_argument("--checkpoint", default="last", help="last, best or a step")
    parser.add_argument("--format", default="safetensors", choices=forms)
    parser.add_argument("--dtype", default="fp16", choices=("fp16", "fp32"), help="of the weights")
    parser.add_argument("--to", type=Path, required=True, help="file, or directory for diffusers and lora")
    parser.add_argument("--force", action="store_true", help="replace what is there")


if __name__ == "__main__":
    sys.exit(main())
