"""A store with a tiny model and photos, and runs of the training program in it."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from runner.dataset import PackageOptions, build_package, inspect_photos, plan_package
from runner.runs.documents import FileEntry, FileSet
from runner.runs.handover import CheckpointRequest, Handover, JobPaper, StopFlag, TrainedRequest
from runner.runs.layout import RunLayout, model_key, model_manifest_key
from runner.spec.frozen import FrozenConcept, FrozenSpec, ModelRef
from runner.spec.model import Samples
from runner.spec.models import model_digest
from runner.spec.training import ClassImages, Train
from runner.storage.directory import DirectoryStore
from runner.storage.trees import upload_tree
from tests.tiny_models import write_tiny_model

ROOT = Path(__file__).parents[3]
SIZE = 32
QUICK = {
    "max_steps": 4,
    "learning_rate": 1e-3,
    "log_every": 2,
    "checkpoint_every": 1000,
    "checkpoint_every_s": 0,
}


def photo(seed, size=SIZE):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


class StopIn(StopFlag):
    """Set as soon as the program reports that phase, at that step or a later one."""

    def __init__(self, handover, phase) -> None:
        super().__init__(handover)
        self.phase, self.step = phase if isinstance(phase, tuple) else (phase, 0)
        self.handover = handover

    def is_set(self) -> bool:
        status = self.handover.read_status()
        if status is not None and status.phase == self.phase and status.step >= self.step:
            self.request()
        return super().is_set()


class Attempt:
    """What one run of the program left in its work directory."""

    def __init__(self, work: Path, code: int, output: str = "") -> None:
        self.work = work
        self.code = code
        self.output = output
        self.handover = Handover(work / "handover")
        self.requests = []
        while (taken := self.handover.take()) is not None:
            taken.path.unlink()
            self.requests.append(taken.request)

    @property
    def exit(self):
        return self.handover.read_exit()

    @property
    def checkpoints(self):
        return [r for r in self.requests if isinstance(r, CheckpointRequest)]

    @property
    def trained(self):
        return next(r for r in self.requests if isinstance(r, TrainedRequest))

    @property
    def state(self):
        """Directory of the newest resume state."""
        return [r for r in self.checkpoints if r.resume][-1].directory / "resume"

    def state_bytes(self):
        return {path.name: path.read_bytes() for path in sorted(self.state.iterdir())}

    def weight_bytes(self):
        directory = next(r for r in reversed(self.checkpoints) if r.weights).directory
        return {
            str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.rglob("*"))
            if path.is_file() and "resume" not in path.parts
        }


class Scene:
    """A store, a model and photos under one directory."""

    def __init__(self, root: Path, photos: int = 3, **model) -> None:
        self.root = root
        self.store = DirectoryStore(root / "store")
        self.model_directory = write_tiny_model(root / "model", **model)
        self.model = self._upload_model()
        self.dataset = self._package(photos)
        self.attempts = 0

    def spec(self, *, samples=None, class_images=None, world_size=1, concepts=None, **train) -> FrozenSpec:
        concept = FrozenConcept(
            instance_prompt="photo of sks dog", class_prompt="photo of dog", dataset=self.dataset
        )
        return FrozenSpec(
            name="tiny",
            family="sd1",
            model=ModelRef(digest=self.model),
            resolution=SIZE,
            concepts=concepts or (concept,),
            class_images=ClassImages(**({"count": 4, "steps": 2} | (class_images or {}))),
            train=Train(**(QUICK | train)),
            world_size=world_size,
            samples=Samples(
                **({"prompts": ("photo of sks dog on red",), "steps": 2, "size": SIZE} | (samples or {}))
            ),
        )

    def prepare(self, spec: FrozenSpec, resume: Path | None = None) -> tuple[str, Path]:
        """Write what the supervisor writes before it starts the program."""
        self.attempts += 1
        layout = RunLayout(spec.run_id())
        self.store.put_if_absent(layout.spec, spec.to_bytes())
        work = self.root / f"work-{self.attempts}"
        work.mkdir()
        step = None
        if resume is not None:
            shutil.copytree(resume, work / "resume")
            step = int(resume.parent.name.split("-")[1])
        url = f"{self.store.url}/runs/{layout.run_id}"
        paper = JobPaper(
            run=url,
            kind="train",
            k=1,
            attempt="1-train-1-a",
            epoch=1,
            settings=spec.settings(),
            resume_step=step,
        )
        (work / "job.json").write_bytes(paper.to_bytes())
        return url, work

    def train(self, spec: FrozenSpec, resume: Path | None = None, stop_in=None) -> Attempt:
        """Run the program in this process; `stop_in` names the phase in which it is told to stop."""
        from runner.train.program import run

        url, work = self.prepare(spec, resume)
        return Attempt(work, run(url, work, StopIn(Handover(work / "handover"), stop_in)))

    def start(self, spec: FrozenSpec, resume: Path | None = None, processes: int = 1):
        """Run the program as the supervisor does, under `accelerate launch`."""
        url, work = self.prepare(spec, resume)
        multi = ["--multi_gpu", "--main_process_port", "0"] if processes > 1 else ["--cpu"]
        command = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1"]
        command += [
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
            "--num_processes",
            str(processes),
            *multi,
        ]
        command += ["-m", "runner.train", "--run", url, "--work", str(work)]
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        if processes == 1:
            env.pop("ACCELERATE_USE_CPU")
        process = subprocess.Popen(
            command, env=env, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return process, work

    def launch(self, spec: FrozenSpec, resume: Path | None = None, processes: int = 1) -> Attempt:
        process, work = self.start(spec, resume, processes)
        output, _ = process.communicate(timeout=600)
        return Attempt(work, process.returncode, output)

    def _upload_model(self) -> str:
        described = upload_tree(self.store, "incoming", self.model_directory)
        digest = model_digest({name: entry.sha256 for name, entry in described.items()})
        files = {}
        for name, entry in described.items():
            self.store.put(model_key(digest, name), self.store.get(f"incoming/{name}"))
            files[name] = FileEntry(key=model_key(digest, name), size=entry.size, sha256=entry.sha256)
        self.store.put(model_manifest_key(digest), FileSet(digest=digest, files=files).to_bytes())
        return digest

    def _package(self, photos: int) -> str:
        folder = self.root / "photos"
        folder.mkdir()
        for seed in range(photos):
            (folder / f"{seed}.png").write_bytes(photo(seed))
        options = PackageOptions(resolution=SIZE)
        store = DirectoryStore(folder)
        plan = plan_package(inspect_photos(store, resolution=SIZE).require(), options)
        return build_package(plan, store, self.store).manifest.digest
