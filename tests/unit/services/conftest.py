"""A published run in a directory store, whose renders a `Painter` draws."""

import pytest

from runner.runs.documents import FileEntry, OutputManifest, Success
from runner.runs.layout import RunLayout
from runner.services.drawing import Drawing
from runner.services.local_jobs import LocalJobs
from runner.services.open_run import OpenRun
from runner.services.places import open_place
from runner.services.render import Wanted, plan_render, read_lines, save_render
from runner.spec.frozen import FrozenConcept, FrozenSpec, ModelRef
from runner.spec.model import Samples, Store
from runner.storage.trees import sha256_bytes
from tests.painter import Painter
from tests.unit.desk import Desk

SPEC = FrozenSpec(
    name="teddy",
    model=ModelRef(digest="1" * 64),
    resolution=64,
    concepts=(FrozenConcept(instance_prompt="photo of sks teddy", dataset="2" * 64),),
    samples=Samples(prompts=("a teddy",), count=2, size=64, steps=5),
)
PROMPTS = tuple(f"a teddy on a {colour} chair" for colour in ("red", "blue", "green"))


class Studio:
    """A run and its painter."""

    def __init__(self, root):
        self.place = open_place(Store(url=str(root / "store")))
        self.store = self.place.store
        self.painter = Painter()
        self.layout = RunLayout(SPEC.run_id())
        self.store.put(self.layout.spec, SPEC.to_bytes())

    def publish(self, files=None):
        entries = {}
        for name, data in (files or {}).items():
            key = self.layout.output_data("1-infer-1-a") + name
            self.store.put(key, data)
            entries[name] = FileEntry(key=key, size=len(data), sha256=sha256_bytes(data))
        manifest = OutputManifest(attempt="1-infer-1-a", published=entries, checkpoint=4).to_bytes()
        self.store.put(self.layout.output_manifest, manifest)
        self.store.put(self.layout.success, Success(output_manifest_sha256=sha256_bytes(manifest)).to_bytes())

    @property
    def run(self):
        jobs = LocalJobs(self.place, SPEC.run_id(), SPEC.run_digest(), self.painter)
        return OpenRun(SPEC.run_id(), self.place, SPEC, jobs)

    def plan(self, prompts=PROMPTS, *, size=None, checkpoint=None, shards=1, **samples):
        return plan_render(self.run, read_lines(None, prompts), Wanted(samples, size, checkpoint, shards))

    def drawing(self, render=None, **options):
        chosen = save_render(render or self.plan())
        return Drawing(chosen, **{"sleep": self.painter.work, **options})

    def draw(self, render=None, **options):
        drawing = self.drawing(render, **options)
        statuses = list(drawing.statuses())
        return drawing.result(), statuses


@pytest.fixture
def studio(tmp_path):
    made = Studio(tmp_path)
    made.publish()
    return made


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Desk(tmp_path)
