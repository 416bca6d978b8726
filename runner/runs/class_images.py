"""Class images in the store: shared by all runs that would make the same ones.

Image i of a set depends on the set's digest and i alone. It is create-only, so several processes may make a set
at once, and the manifest of a count comes last; a larger count makes only what is missing.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from runner.errors import NotFound
from runner.runs.documents import FileEntry, FileSet
from runner.runs.layout import class_image_key, class_images_key, class_images_manifest_key
from runner.spec.identity import digest
from runner.spec.training import ClassImages
from runner.storage.store import ObjectStore
from runner.storage.trees import sha256_bytes

VERSION = 1
"""Raised when the same options would draw other pictures than before."""


def class_images_digest(
    options: ClassImages, prompt: str, *, model: str, vae: str | None, size: int, dtype: str
) -> str:
    """The key of a set: all that determines its pictures, but not how many there are.

    Args:
        options: sampler, steps, guidance scale and seed; image i's seed derives from the seed and i.
        prompt: the class prompt.
        model: digest of the base model.
        vae: digest of another autoencoder, if there is one.
        size: pixels a side.
        dtype: arithmetic that draws them: `fp32`, `fp16`, `bf16`.
    """
    content = {
        "version": VERSION,
        "model": model,
        "vae": vae,
        "prompt": prompt,
        "sampler": options.sampler,
        "steps": options.steps,
        "guidance_scale": options.guidance_scale,
        "seed": options.seed,
        "size": size,
        "dtype": dtype,
    }
    return digest(content)


@dataclass(frozen=True, slots=True)
class ClassImageSet:
    """One set of class images.

    Attributes:
        store: where it lives.
        digest: its key, `class_images_digest`.
    """

    store: ObjectStore
    digest: str

    def manifest(self, count: int) -> FileSet | None:
        """The first `count` images, by file name; None until they are committed."""
        key = class_images_manifest_key(self.digest, count)
        try:
            return FileSet.from_bytes(self.store.get(key), key)
        except NotFound:
            return None

    def forget_damaged(self, manifest: FileSet) -> list[str]:
        """Delete the images that are not what the manifest says, so that they are made again; their names."""
        damaged = [name for name, entry in manifest.files.items() if not self._is_right(entry)]
        for name in damaged:
            self.store.delete(manifest.files[name].key)
        return damaged

    def _is_right(self, entry: FileEntry) -> bool:
        try:
            return sha256_bytes(self.store.get(entry.key)) == entry.sha256
        except NotFound:
            return False

    def missing(self, count: int) -> list[int]:
        """Which of the first `count` images nobody has made, by one LIST."""
        stored = {info.key for info in self.store.list(class_images_key(self.digest))}
        return [i for i in range(count) if class_image_key(self.digest, i) not in stored]

    def put(self, i: int, png: bytes) -> bool:
        """Store image i; False when another process made it first, whose image counts."""
        return self.store.put_if_absent(class_image_key(self.digest, i), png)

    def commit(self, count: int) -> FileSet:
        """Commit the first `count` images as they are stored, and return what is committed.

        An earlier manifest gives way when an image had to be made again and came out otherwise, as on another GPU.

        Raises:
            runner.errors.NotFound: one of them is not stored.
        """
        entries = self._describe(range(count))
        files = {entry.key.rpartition("/")[2]: entry for entry in entries}
        made = FileSet(digest=self.digest, files=files)
        key = class_images_manifest_key(self.digest, count)
        if not self.store.put_if_absent(key, made.to_bytes()):
            stored = self.manifest(count)
            if stored is None or stored.files != made.files:
                self.store.put(key, made.to_bytes())
        return made

    def _describe(self, indices: Iterable[int]) -> list[FileEntry]:
        def describe(i: int) -> FileEntry:
            key = class_image_key(self.digest, i)
            data = self.store.get(key)
            return FileEntry(key=key, size=len(data), sha256=sha256_bytes(data))

        with ThreadPoolExecutor(8, thread_name_prefix="class-images") as pool:
            return list(pool.map(describe, indices))
