"""A desk with a spec whose model and photos are small files: everything up to the first Job, without torch; and
runs in every state, as their Jobs would have left them."""

import io
import json
import time

import numpy as np
import yaml
from PIL import Image

from runner.runs.cancel import wish
from runner.runs.documents import AttemptEnv, ExitRecord, LocalProcess, Owner, Status
from runner.runs.layout import AttemptId
from runner.services.prepare import prepare
from runner.services.submit import package
from runner.spec.loading import load_spec


def lower_it(run_id):
    """The remedy of a run that `Desk.run(code=70)` has left, with the command that goes on."""
    return f"Lower it. Then: runner retry {run_id} (or submit, if the spec has changed)"


def photo(seed):
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


class Desk:
    """A directory with a model, photos and a spec."""

    def __init__(self, root):
        self.root = root
        self.store = root / "store"
        (root / "photos").mkdir()
        for seed in range(3):
            (root / "photos" / f"{seed}.png").write_bytes(photo(seed))
        (root / "model" / "unet").mkdir(parents=True)
        (root / "model" / "unet" / "config.json").write_text("{}")
        (root / "model" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"weights")
        (root / "model" / "model_index.json").write_text(
            json.dumps({"_class_name": "StableDiffusionPipeline"})
        )
        self.spec = {
            "name": "teddy",
            "model": "model",
            "resolution": 32,
            "concepts": [
                {
                    "instance_prompt": "photo of sks dog",
                    "class_prompt": "photo of dog",
                    "instance_images": "photos",
                }
            ],
            "store": "store",
        }

    def load(self, *overrides):
        return load_spec(self.write_spec(), overrides=overrides, environ={})

    def write_spec(self):
        path = self.root / "run.yaml"
        path.write_text(yaml.safe_dump(self.spec))
        return path

    def run(self, *, code=None, host="elsewhere", cancelled=False, **status):
        """A packaged run whose first train Job, of another machine, is alive or ended with that exit code."""
        packaged = package(prepare(self.load()))
        store, layout = packaged.prepared.place.store, packaged.prepared.layout
        local = LocalProcess(host=host, pid=1)
        claim = packaged.prepared.proposal().model_copy(update={"local": local, "created": time.time()})
        store.put(layout.job_claim("train", 1), claim.to_bytes())
        attempt = AttemptId(1, "train", 1, "a")
        store.put(layout.owner(1), Owner(epoch=1, attempt=attempt.text, kind="train", k=1).to_bytes())
        files = layout.attempt(attempt.text)
        env = AttemptEnv(attempt=attempt.text, epoch=1, kind="train", k=1, host=host, started=time.time())
        store.put(files.env, env.to_bytes())
        store.put(files.status, Status(**{"beat": 1, "updated": time.time()} | status).to_bytes())
        if cancelled:
            wish(store, layout, now=time.time())
        if code is not None:
            end = ExitRecord(code=code, cause="the loss is NaN at step 3", remedy="Lower it.")
            store.put(files.exit, end.to_bytes())
        return packaged.prepared.run_id
