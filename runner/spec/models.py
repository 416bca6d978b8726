"""Which base model is meant, and its content digest."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Literal

from runner.errors import InputMissing, InvalidSpec
from runner.spec import identity

BUILTIN = Path(__file__).parents[1] / "builtin"
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth"})
OTHER_FRAMEWORKS = frozenset({".msgpack", ".h5", ".onnx", ".onnx_data", ".pb", ".xml", ".tflite"})
UNUSED_COMPONENTS = frozenset({"safety_checker", "feature_extractor"})


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
        kind: `builtin` (location: its name), `s3` (a URL), `directory` (an absolute path) or `hub` (an id).
        location: as above.
        revision: of a hub model, as given: a commit, a tag or a branch.
    """

    kind: Literal["builtin", "s3", "directory", "hub"]
    location: str
    revision: str | None = None


def parse_model(reference: str, *, base_dir: Path, revision: str | None = None) -> ModelSource:
    """Tell what `model: …` means; an existing directory wins over a hub id of the same words.

    Args:
        reference: `builtin:…`, `s3://…`, a directory relative to `base_dir`, or a hub id.
        base_dir: the spec file's directory.
        revision: of a hub model.

    Raises:
        InvalidSpec: none of these.
    """
    if reference.startswith("builtin:"):
        return ModelSource("builtin", reference.removeprefix("builtin:"))
    if reference.startswith("s3://"):
        return ModelSource("s3", reference.rstrip("/"))
    if is_directory(reference, base_dir):
        return ModelSource("directory", str((base_dir / Path(reference).expanduser()).resolve()))
    if HUB_ID.fullmatch(reference):
        return ModelSource("hub", reference, revision)
    msg = f"model: {reference!r} is neither a hub id, an s3:// URL, a builtin: name nor a directory"
    raise InvalidSpec(msg, f"Give a directory that exists under {base_dir}, or owner/name of a hub model.")


def is_directory(reference: str, base_dir: Path) -> bool:
    """Whether a model reference means a directory: it exists as one, or is written like a path."""
    if reference.startswith(("builtin:", "s3://")):
        return False
    return reference.startswith((".", "/", "~")) or (base_dir / reference).is_dir()


def builtin_names() -> tuple[str, ...]:
    """Names of the models that ship with the package."""
    return tuple(sorted(path.parent.name for path in BUILTIN.glob("*/model_index.json")))


def builtin_path(name: str) -> Path:
    """Directory of a model that ships with the package.

    Raises:
        InputMissing: there is none of that name.
    """
    path = BUILTIN / name
    if name in builtin_names():
        return path
    names = builtin_names()
    close = get_close_matches(name, names, n=1)
    listed = ", ".join(f"builtin:{known}" for known in names) or "none"
    remedy = f"Did you mean builtin:{close[0]}?" if close else f"Built-in models: {listed}."
    msg = f"model: there is no built-in model {name!r}"
    raise InputMissing(msg, remedy)


def model_files(names: Iterable[str]) -> tuple[str, ...]:
    """The files that make up a model, out of all names (relative, `/`-separated) in its directory.

    With a `model_index.json`: that file and its component folders, without the safety checker. Without: one
    component (an autoencoder, say), whose files lie at the top. Dot-files, other frameworks' weights,
    pickles that exist as safetensors too, and fp16 copies of full weights are not part of it: adding or
    removing them leaves the digest as it was.
    """
    visible = [PurePosixPath(name) for name in names if not _hidden(PurePosixPath(name))]
    pipeline = PurePosixPath("model_index.json") in visible
    inside = [path for path in visible if (len(path.parts) > 1 if pipeline else len(path.parts) == 1)]
    kept = [path for path in inside if not _superfluous(path, inside)]
    index = [PurePosixPath("model_index.json")] if pipeline else []
    return tuple(sorted(str(path) for path in index + kept))


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.parts[0] in UNUSED_COMPONENTS


def _superfluous(path: PurePosixPath, among: Iterable[PurePosixPath]) -> bool:
    if path.suffix in OTHER_FRAMEWORKS or path.suffix == ".md":
        return True
    siblings = [other for other in among if other.parent == path.parent and other != path]
    if path.suffix in PICKLES:
        return any(other.suffix == ".safetensors" for other in siblings)
    stem, dot, variant = path.stem.rpartition(".")
    return bool(dot) and variant == "fp16" and any(other.name == stem + path.suffix for other in siblings)


def model_digest(files: Mapping[str, str]) -> str:
    """Content digest of a directory, `s3://` or built-in model.

    Args:
        files: SHA-256 by relative path, of all files; those outside `model_files` are ignored.

    Raises:
        ValueError: none of the files belongs to a model.
    """
    kept = model_files(files)
    if not kept:
        msg = "no file of a model among the names"
        raise ValueError(msg)
    return identity.digest({name: files[name] for name in kept})


def hub_digest(hub_id: str, commit: str) -> str:
    """Digest of a hub model: SHA-256 of `<id>@<40-hex commit>`.

    Raises:
        ValueError: the revision is not a commit; `resolve_revision` finds it.
    """
    if not COMMIT.fullmatch(commit):
        msg = f"{commit!r} is not a commit of 40 hexadecimal digits"
        raise ValueError(msg)
    return hashlib.sha256(f"{hub_id}@{commit}".encode()).hexdigest()
