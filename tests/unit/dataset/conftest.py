"""Photos made on the spot, a folder of them, and the whole way from folder to package."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner.dataset import PackageOptions, build_package, inspect_photos, plan_package
from runner.storage.directory import DirectoryStore


def picture(seed=0, size=(96, 64)):
    """A photo-like picture: smooth, unlike any of another seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(seed=0, size=(96, 64)):
    return encoded(picture(seed, size), quality=95)


class Folder:
    """A folder of photos on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = DirectoryStore(root)

    def write(self, name, data):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return self

    def photos(self, count=3, **options):
        for seed in range(count):
            self.write(f"{seed}.jpg", jpeg(seed, **options))
        return self

    def inspect(self, resolution=32, **options):
        return inspect_photos(self.store, resolution=resolution, **options)

    def plan(self, **options):
        chosen = PackageOptions(**{"resolution": 32} | options)
        return plan_package(self.inspect(chosen.resolution).require(), chosen)

    def package(self, store, **options):
        return build_package(self.plan(**options), self.store, store)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    return Folder(tmp_path / "photos")


@pytest.fixture
def other_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    return Folder(tmp_path / "elsewhere")


@pytest.fixture
def run_store(tmp_path):
    return DirectoryStore(tmp_path / "runs")


@pytest.fixture
def make():
    """The makers of this module, for tests (which are not imported as packages)."""

    class Make:
        picture = staticmethod(picture)
        encoded = staticmethod(encoded)
        jpeg = staticmethod(jpeg)

    return Make
