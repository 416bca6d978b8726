"""How OpenMP's threads should wait: the built-in model on a quiet machine, and beside busy neighbours.

    python benchmarks/threads.py [--rounds 3] [--seconds 2] [--neighbours 2] [--json FILE]

Each setting is a process of its own that trains (forward, backward, AdamW, batch of 8) and draws (forward, batch of 2,
as guidance does). They take turns, so that noise hits all alike, first alone, then beside NEIGHBOURS processes that
do nothing but compute. The table holds medians of steps a second, and each as a share of torch's own default on the quiet machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MODEL = Path(__file__).parents[1] / "runner" / "builtin" / "emoji"
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"},
}
TOLD = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
"""What the caller's own environment must not decide here."""
WARM_UP_STEPS = 3


def rate(step: Callable[[], None], seconds: float) -> float:
    """Steps a second, after a few that are not counted."""
    for _ in range(WARM_UP_STEPS):
        step()
    steps, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        step()
        steps += 1
    return steps / (time.perf_counter() - start)


def work(seconds: float) -> dict[str, float]:
    """Train and draw in this process; steps a second of both."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet", torch_dtype=torch.float32)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-5, fused=True)
    size, width = unet.config.sample_size, unet.config.cross_attention_dim
    latents, states = torch.randn(8, unet.config.in_channels, size, size), torch.randn(8, 24, width)

    def train() -> None:
        unet(latents, 500, encoder_hidden_states=states).sample.square().mean().backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    @torch.inference_mode()
    def draw() -> None:
        unet(latents[:2], 500, encoder_hidden_states=states[:2])

    return {"train": rate(train, seconds), "draw": rate(draw, seconds)}


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that compute all the time."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measured(setting: dict[str, str], seconds: float) -> dict[str, float]:
    """`work` in a process with that setting."""
    env = {name: value for name, value in os.environ.items() if name not in TOLD} | setting
    command = [sys.executable, __file__, "--work", "--seconds", str(seconds)]
    found = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    rates: dict[str, float] = json.loads(found.stdout)
    return rates


def medians(rounds: int, seconds: float, beside: int) -> dict[str, dict[str, float]]:
    """Each setting's median rates beside that many neighbours."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    with neighbours(beside):
        for _ in range(rounds):
            for name, setting in SETTINGS.items():
                taken[name].append(measured(setting, seconds))
                print(f"{beside} neighbours, {name}: {taken[name][-1]}", file=sys.stderr)
    return {
        name: {kind: statistics.median(one[kind] for one in all_of_it) for kind in ("train", "draw")}
        for name, all_of_it in taken.items()
    }


def print_table(found: dict[str, dict[str, dict[str, float]]]) -> None:
    """A line per setting: steps a second, and the share of the quiet default."""
    base = found["quiet"]["default"]
    columns = [(load, kind) for load in found for kind in ("train", "draw")]
    print(f"{'':<14}" + "".join(f"{f'{load}, {kind}':>20}" for load, kind in columns))
    for name in SETTINGS:
        cells = [(found[load][name][kind], found[load][name][kind] / base[kind]) for load, kind in columns]
        print(f"{name:<14}" + "".join(f"{f'{value:.2f}/s  {share:.2f}x':>20}" for value, share in cells))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="processes per setting")
    parser.add_argument("--seconds", type=float, default=2.0, help="of training, and of drawing, in each")
    parser.add_argument("--neighbours", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the medians here")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.work:
        print(json.dumps(work(given.seconds)))
        return
    found = {
        load: medians(given.rounds, given.seconds, beside)
        for load, beside in (("quiet", 0), ("busy", given.neighbours))
    }
    print_table(found)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
