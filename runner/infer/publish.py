"""Publish a trained run: export the chosen checkpoint, draw from the exported files, tell the story.

Everything under the output directory is a function of the run alone: no clock, host, path, store or run id.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.diffusion.export import export_diffusers, export_single_file, load_trained
from runner.diffusion.job import Job
from runner.diffusion.loading import check_size, load_parts
from runner.diffusion.lora import LORA_FILE, export_lora
from runner.diffusion.text import cut_words
from runner.evaluate.choice import Choice, choose_checkpoint
from runner.infer.card import model_card
from runner.infer.parts import to_device
from runner.infer.pictures import Source, contact_sheet, ndjson
from runner.infer.samples import Drawn, draw_samples, sample_drawings
from runner.infer.story import tell_story
from runner.infer.verify import require_same_weights
from runner.report.page import write_report
from runner.runs.documents import CheckpointManifest
from runner.runs.handover import OutputRequest
from runner.runs.published import read_checkpoint, read_trained
from runner.runs.verified import download
from runner.storage.files import explained
from runner.storage.trees import sha256_file

MODEL = "model"


@dataclass(frozen=True)
class Chosen:
    """The checkpoint to publish.

    Attributes:
        choice: which, and why.
        checkpoints: every committed checkpoint, by step.
        directory: its files on local disk: `weights/…`.
    """

    choice: Choice
    checkpoints: dict[int, CheckpointManifest]
    directory: Path


def publish(job: Job) -> None:
    """Make the whole output and hand it over.

    Raises:
        runner.errors.RunnerError: with the container's exit code.
    """
    job.phase("choosing a checkpoint")
    chosen = choose(job)
    base = job.model(job.spec.model)
    vae = job.model(job.spec.vae) if job.spec.vae else None
    output = job.scratch / "output"
    source = export(job, chosen, base, vae, output)
    drawn = draw(job, base, vae, output, source)
    write_words(job, chosen, output, source, drawn)
    published = {p.relative_to(output).as_posix(): p for p in sorted(output.rglob("*")) if p.is_file()}
    names = {name: name for name in published}
    job.stop.raise_if_set()
    job.handover.post(OutputRequest(directory=output, published=names, checkpoint=chosen.choice.step))


def choose(job: Job, wanted: Literal["last", "best"] | int | None = None) -> Chosen:
    """Read what training left, choose, and fetch the chosen weights.

    Args:
        job: whose run.
        wanted: instead of `samples.checkpoint`.

    Raises:
        NotFound: the run is not trained, or a checkpoint is gone.
        InputMissing: `samples.checkpoint` names none of its steps.
    """
    run_id = job.layout.run_id
    trained = read_trained(job.store, run_id)
    checkpoints = {step: read_checkpoint(job.store, run_id, step) for step in trained.steps}
    last = checkpoints[max(checkpoints)]
    train = job.spec.train
    weight = train.prior_weight if train.prior_preservation else 0.0
    choice = choose_checkpoint(
        wanted or job.spec.samples.checkpoint, tuple(checkpoints), last.metrics, weight
    )
    directory = job.scratch / "checkpoint"
    files = checkpoints[choice.step].files
    download(job.store, {n: e for n, e in files.items() if n.startswith("weights/")}, directory)
    return Chosen(choice, checkpoints, directory)


def export(job: Job, chosen: Chosen, base: Path, vae: Path | None, output: Path) -> Source:
    """Write every format, and check that the single file holds what the directory holds."""
    job.phase("exporting")
    trained, name = chosen.directory / "weights", job.spec.name
    with explained(str(output)):
        output.mkdir(parents=True, exist_ok=True)
    parts = load_trained(base, trained, vae=vae, allow_pickle=job.spec.model.allow_pickle)
    single = output / f"{name}.safetensors"
    export_diffusers(parts, base, output / MODEL)
    export_single_file(parts, single)
    if (trained / LORA_FILE).is_file():
        export_lora(trained, output / "lora", f"{name}-lora", job.spec.train.lora.alpha)
    job.phase("checking the exported files")
    require_same_weights(single, output / MODEL)
    return Source(name, sha256_file(single))


def draw(job: Job, base: Path, vae: Path | None, output: Path, source: Source) -> Drawn:
    """Draw every sample with the exported model and with the base model, from the same seeds."""
    wanted = sample_drawings(job.spec)
    after = load_parts(output / MODEL)
    check_size(after, wanted.size, "samples.size")
    cut = cut_words(after.text, [*wanted.prompts, *(c.instance_prompt for c in job.spec.concepts)])
    total = 2 * len(wanted.drawings)
    count = job.counting("drawing", total)
    new = draw_samples(job, to_device(after, job.spec.samples.precision), wanted, source, cut, count)
    del after
    before = load_parts(base, vae=vae, allow_pickle=job.spec.model.allow_pickle)
    old = Source(job.spec.model.source or "base model", job.spec.model.digest)
    base_pictures = draw_samples(job, to_device(before, job.spec.samples.precision), wanted, old, cut, count)
    return Drawn(wanted, new, base_pictures, cut).written(output)


def write_words(job: Job, chosen: Chosen, output: Path, source: Source, drawn: Drawn) -> None:
    """Write figures, contact sheet, model card and report."""
    job.phase("writing the report")
    last = chosen.checkpoints[max(chosen.checkpoints)].metrics
    figures = {
        "checkpoint": chosen.choice.step,
        "chosen_because": chosen.choice.reason,
        "checkpoints": sorted(chosen.checkpoints),
        "loss_curve": last.get("loss_curve", []),
        "stable_loss": last.get("stable_loss", []),
    }
    with explained(str(output)):
        (output / "images.ndjson").write_bytes(ndjson(drawn.rows(source)))
        (output / "contact-sheet.png").write_bytes(contact_sheet(drawn.sheet_rows()))
        (output / "metrics.json").write_text(json.dumps(figures, sort_keys=True, indent=1) + "\n", "utf-8")
        (output / "README.md").write_text(model_card(job.spec, chosen.choice, drawn), "utf-8")
    write_report(tell_story(job, chosen.checkpoints, chosen.choice, drawn, output), output / "report.html")
