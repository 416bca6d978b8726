"""Prior preservation's images (Ruiz et al. 2023, section 3.3): made by the base model when the store lacks them.

The processes share the work. Images are create-only and the manifest of a count comes last, so that several
runs may make one set at once: whoever comes second takes what is stored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from runner.diffusion.drawing import Drawing, draw
from runner.diffusion.loading import Parts
from runner.errors import BadData, NotFound, RunnerError
from runner.runs.class_images import ClassImageSet, class_images_digest
from runner.runs.documents import FileSet
from runner.runs.verified import download
from runner.spec.frozen import FrozenSpec
from runner.spec.seeds import class_image_seed
from runner.spec.training import ClassImages
from runner.storage.store import ObjectStore
from runner.train.pictures import Picture
from runner.train.processes import Processes


@dataclass(frozen=True, slots=True)
class Wanted:
    """The class images of one prompt.

    Attributes:
        digest: names the set in the store.
        prompt: the class prompt.
        options: sampler, steps, guidance, seed and count.
        size: pixels a side.
        dtype: arithmetic that draws them: fp32, fp16 or bf16.
    """

    digest: str
    prompt: str
    options: ClassImages
    size: int
    dtype: str

    def drawing(self, index: int) -> Drawing:
        """How image `index` is drawn: the same in a set of ten and of a thousand."""
        return Drawing(
            prompt=self.prompt,
            seed=class_image_seed(self.options.seed, index),
            guidance_scale=self.options.guidance_scale,
            steps=self.options.steps,
            size=self.size,
            sampler=self.options.sampler,
        )


@dataclass(frozen=True, slots=True)
class Workshop:
    """What making images needs besides the store.

    Attributes:
        parts: loads the base model on its device; called only when images are missing.
        processes: the peers, who share the work.
        should_stop: polled before every sampler step.
        progress: told how many images of this set exist, after each.
    """

    parts: Callable[[], Parts]
    processes: Processes
    should_stop: Callable[[], bool]
    progress: Callable[[int], None]


def wanted_class_images(spec: FrozenSpec, prompt: str, dtype: str, *, count: int | None = None) -> Wanted:
    """What a run wants for one prompt: `class_images.count` images, or `count`."""
    options = spec.class_images.model_copy(update={"count": count} if count else {})
    vae = spec.vae.digest if spec.vae else None
    digest = class_images_digest(
        options, prompt, model=spec.model.digest, vae=vae, size=spec.resolution, dtype=dtype
    )
    return Wanted(digest, prompt, options, spec.resolution, dtype)


def ensure_class_images(
    store: ObjectStore, wanted: Wanted, directory: Path, workshop: Workshop
) -> list[Picture]:
    """Make what is missing, then bring the set to local disk; every process calls it.

    Images that were deleted or damaged since are made again.

    Returns:
        the images in their order, named by their file in the store.

    Raises:
        runner.errors.Stopped: told to stop; what was made stays for the next attempt.
    """
    stored, processes = ClassImageSet(store, wanted.digest), workshop.processes
    folder = directory / wanted.digest[:16]
    manifest = stored.manifest(wanted.options.count)
    # All or none: a process that saw the manifest late must not leave the others waiting.
    if processes.any(flag=manifest is None):
        manifest = _make(stored, wanted, workshop)
    assert manifest is not None
    failure = _fetch(store, manifest, folder, processes)
    if processes.any(flag=failure is not None):
        if processes.is_main:
            damaged = stored.forget_damaged(manifest)
            print(f"class images that are gone or damaged are made again: {', '.join(damaged)}", flush=True)  # noqa: T201 - the log
        processes.wait()
        manifest = _make(stored, wanted, workshop)
        failure = _fetch(store, manifest, folder, processes)
    if failure is not None:
        raise failure
    return [
        Picture(f"class image {name}", wanted.prompt, (folder / name,)) for name in sorted(manifest.files)
    ]


def _make(stored: ClassImageSet, wanted: Wanted, workshop: Workshop) -> FileSet:
    """Make what is missing, and commit the set; every process calls it."""
    make_missing(stored, wanted, workshop)
    workshop.processes.wait()
    return stored.commit(wanted.options.count)


def _fetch(store: ObjectStore, manifest: FileSet, folder: Path, processes: Processes) -> RunnerError | None:
    """Bring the set to this node's disk; what is wrong with it, so that no process leaves the others waiting."""
    try:
        if processes.local_rank == 0:
            download(store, manifest.files, folder)
    except (BadData, NotFound) as error:
        return error
    finally:
        processes.wait()
    return None


def make_missing(stored: ClassImageSet, wanted: Wanted, workshop: Workshop) -> None:
    """Draw this process's share of the missing images and store each as soon as it is there."""
    processes, count = workshop.processes, wanted.options.count
    missing = stored.missing(count)
    # By number, not by place in the list: another process may have listed later, when some were there.
    mine = [index for index in missing if index % processes.world_size == processes.rank]
    if not mine:
        return
    drawings = [wanted.drawing(index) for index in mine]
    size = wanted.options.batch_size
    done = count - len(missing)
    workshop.progress(done)
    for place, image in draw(workshop.parts(), drawings, batch_size=size, should_stop=workshop.should_stop):
        stored.put(mine[place], _png(image))
        done = min(done + processes.world_size, count)
        workshop.progress(done)


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
