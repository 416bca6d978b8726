"""A run whose training is over, in a directory store: a tiny model, three photos, two checkpoints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from runner.dataset.inspection import inspect_photos
from runner.dataset.options import PackageOptions
from runner.dataset.package import build_package
from runner.dataset.plan import plan_package
from runner.diffusion import weights
from runner.diffusion.job import Job, open_job
from runner.diffusion.loading import load_parts
from runner.runs.class_images import ClassImageSet
from runner.runs.documents import CheckpointManifest, ResumeState, Trained
from runner.runs.handover import Handover, JobPaper, OutputRequest, StopFlag
from runner.runs.layout import RunLayout
from runner.runs.models import upload_model
from runner.runs.verified import upload
from runner.spec.frozen import FrozenConcept, FrozenSpec, ModelRef
from runner.spec.model import Samples
from runner.spec.models import model_digest
from runner.spec.training import ClassImages, Lora, Train
from runner.storage import open_store
from runner.storage.trees import sha256_file
from tests.tiny_models import write_tiny_model

STEPS = (2, 4)
STABLE = [
    {"step": 0, "instance": 1.0, "prior": 0.5},
    {"step": 2, "instance": 0.4, "prior": 0.5},
    {"step": 4, "instance": 0.3, "prior": 0.9},
]
"""The best checkpoint is step 2: by step 4 the class has drifted."""

SAMPLES = {
    "prompts": ("photo of sks dog on a red background",),
    "count": 2,
    "steps": 2,
    "guidance_scale": 3.0,
    "size": 32,
    "negative_prompt": "green",
}


class TrainedRun:
    """One such run.

    Args:
        root: an empty directory.
        method: `full` or `lora`.
        samples: changes to `SAMPLES`.
        instance_prompt: of its one concept.
        model: options of `write_tiny_model`.
    """

    def __init__(
        self,
        root: Path,
        *,
        method: str = "full",
        samples: dict | None = None,
        instance_prompt: str = "photo of sks dog",
        **model: Any,
    ) -> None:
        self.root = root
        self.store = open_store(str(root / "store"))
        self.base = write_tiny_model(root / "base", **model)
        digest = self._upload_model()
        dataset = self._package_photos()
        self.spec = FrozenSpec(
            name="teddy",
            family="sd1",
            model=ModelRef(digest=digest),
            resolution=32,
            concepts=(
                FrozenConcept(
                    instance_prompt=instance_prompt, class_prompt="photo of a dog", dataset=dataset
                ),
            ),
            class_images=ClassImages(count=2),
            train=Train(method=method, max_steps=4, lora=Lora(rank=2, alpha=4.0)),
            samples=Samples(**{**SAMPLES, **(samples or {})}),
        )
        self.layout = RunLayout(self.spec.run_id())
        self.store.put(self.layout.spec, self.spec.to_bytes())
        for step in STEPS:
            self._checkpoint(step, method)
        self.store.put(self.layout.trained, Trained(attempt="1-train-1-a", steps=STEPS).to_bytes())

    @property
    def url(self) -> str:
        """What `--run` gets."""
        return f"{self.store.url}/runs/{self.layout.run_id}"

    def work(self, name: str, **paper: Any) -> Path:
        """A work directory as the supervisor prepares it."""
        work = self.root / name
        (work / "scratch").mkdir(parents=True)
        content = {"run": self.url, "kind": "infer", "k": 1, "attempt": "1-infer-1-a", **paper}
        (work / "job.json").write_bytes(JobPaper(**content).to_bytes())
        Handover(work / "handover")
        return work

    def metrics(self, step: int) -> dict[str, Any]:
        """What training says of a checkpoint."""
        curve = [
            {"step": i + 1, "loss": 1.0, "instance_loss": 0.9 / (i + 1), "prior_loss": 0.1}
            for i in range(step)
        ]
        made = [
            {"prompt": "photo of a dog", "digest": "c" * 64, "count": 2},
            {"prompt": "photo of a cat", "digest": "d" * 64, "count": 2},
        ]
        stable = [row for row in STABLE if row["step"] <= step]
        return {"step": step, "loss_curve": curve, "stable_loss": stable, "class_images": made}

    def _upload_model(self) -> str:
        files = {p.relative_to(self.base).as_posix(): p for p in self.base.rglob("*") if p.is_file()}
        digest = model_digest({name: sha256_file(path) for name, path in files.items()})
        upload_model(self.store, digest, self.base)
        return digest

    def _package_photos(self) -> str:
        folder = self.root / "photos"
        folder.mkdir()
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        for digest in ("c" * 64, "d" * 64):
            class_set = ClassImageSet(self.store, digest)
            for i in range(2):
                class_set.put(i, (folder / f"{i}.png").read_bytes())
            class_set.commit(2)
        photos = open_store(str(folder))
        found = inspect_photos(photos, resolution=32).require()
        plan = plan_package(found, PackageOptions(resolution=32))
        return build_package(plan, photos, self.store).manifest.digest

    def _checkpoint(self, step: int, method: str) -> None:
        directory = self.root / f"step-{step}"
        (directory / "samples").mkdir(parents=True)
        Image.new("RGB", (32, 32), (10 * step, 0, 0)).save(directory / "samples/00-00.png")
        write = _write_adapters if method == "lora" else _write_unet
        write(self.base, directory / "weights", step)
        (directory / "metrics.json").write_text(json.dumps(self.metrics(step)))
        files = upload(self.store, self.layout.checkpoint_data(step, "1-train-1-a"), directory)
        manifest = CheckpointManifest(
            step=step, attempt="1-train-1-a", files=files, metrics=self.metrics(step)
        )
        self.store.put(self.layout.checkpoint_manifest(step), manifest.to_bytes())
        if step == max(STEPS):
            self._state(step, directory / "resume")

    def _state(self, step: int, directory: Path) -> None:
        """The resume state, as far as its weights."""
        prefix = self.layout.checkpoint_data(step, "1-train-1-a") + "resume/"
        state = ResumeState(step=step, attempt="1-train-1-a", files=upload(self.store, prefix, directory))
        self.store.put(self.layout.checkpoint_state(step), state.to_bytes())


def job_of(trained: TrainedRun, name: str, **paper: Any) -> Job:
    """A Job in a work directory of that name, without a process around it."""
    work = trained.work(name, **paper)
    handover = Handover(work / "handover")
    return open_job(trained.url, work, handover, StopFlag(handover))


def output_of(job: Job) -> OutputRequest:
    """What a publishing Job handed over."""
    taken = job.handover.take()
    assert taken is not None
    assert isinstance(taken.request, OutputRequest)
    return taken.request


def _write_unet(base: Path, directory: Path, step: int) -> None:
    """The base model's U-Net, a little moved."""
    tensors = load_parts(base).unet.state_dict()
    moved = {key: value + 0.01 * step for key, value in tensors.items()}
    weights.save(moved, directory / "unet/diffusion_pytorch_model.safetensors", "fp16")
    _write_state(moved, directory)
    (directory / "unet/config.json").write_bytes((base / "unet/config.json").read_bytes())


def _write_adapters(base: Path, directory: Path, step: int) -> None:
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = load_parts(base).unet
    unet.add_adapter(LoraConfig(r=2, lora_alpha=4.0, target_modules=["to_q", "to_v"]))
    with torch.no_grad():
        for key, value in unet.named_parameters():
            if "lora_" in key:
                value.fill_(0.02 * step)
    config = unet.peft_config["default"].to_dict() | {"base_model_name_or_path": None}
    StableDiffusionPipeline.save_lora_weights(
        directory,
        weight_name="pytorch_lora_weights.safetensors",
        unet_lora_layers=weights.cast(get_peft_model_state_dict(unet), "fp16"),
        unet_lora_adapter_metadata={k: sorted(v) if isinstance(v, set) else v for k, v in config.items()},
    )
    _write_state({k: v for k, v in unet.named_parameters() if "lora_" in k}, directory)


def _write_state(parameters: dict[str, torch.Tensor], directory: Path) -> None:
    named = {f"unet.{key}": value for key, value in parameters.items()}
    weights.save(named, directory.parent / "resume/trainable.safetensors", "fp32")
