"""Base models from the Hugging Face hub: the files of one commit that make up the model, nothing else."""

from pathlib import Path
from typing import Any, NoReturn

from runner.errors import Forbidden, InputMissing, StoreUnreachable
from runner.spec.models import model_files
from runner.storage.files import disk_error, explain

_REFUSED = (401, 403)
_GONE = 404


def fetch_from_hub(model_id: str, commit: str, directory: Path, *, endpoint: str | None = None) -> Path:
    """Download a model's files into `directory`; `HF_TOKEN` is used where it is set.

    Args:
        model_id: `owner/name`.
        commit: 40 hexadecimal digits.
        directory: new or holding an interrupted download.
        endpoint: another hub than `HF_ENDPOINT`'s.

    Raises:
        Forbidden: the model is gated or private, or does not exist: the hub tells these apart only with a token.
        InputMissing: no such model or commit, or it has no diffusers files.
        StoreUnreachable: the hub does not answer.
        DiskFull: there is no room for them.
    """
    from huggingface_hub import HfApi  # a second of imports, and only hub models need it

    hub = HfApi(endpoint=endpoint)
    try:
        info = hub.model_info(model_id, revision=commit)
        wanted = model_files(file.rfilename for file in info.siblings or ())
        for name in wanted:
            hub.hf_hub_download(model_id, name, revision=commit, local_dir=directory)
    except Exception as error:
        if (disk := disk_error(error)) is not None:
            raise explain(disk, str(directory)) from error
        _explain(error, model_id, commit)
    if not wanted:
        message = f"{model_id} at {commit[:12]} has no files of a diffusers model"
        raise InputMissing(message, "Name a model in the diffusers layout, with model_index.json.")
    return directory


def _explain(error: Exception, model_id: str, commit: str) -> NoReturn:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = _status(error)
    if isinstance(error, RevisionNotFoundError):
        message = f"model {model_id} has no commit {commit}"
        raise InputMissing(message, "Set model.revision to a commit of that model.") from error
    if isinstance(error, GatedRepoError) or status in _REFUSED:
        message = f"the hub refuses model {model_id}: it is gated or private, or there is none of that name"
        remedy = "Accept its licence on its page and set HF_TOKEN (in the pod: the Secret of store.secret)."
        raise Forbidden(message, remedy) from error
    if isinstance(error, RepositoryNotFoundError) or status == _GONE:
        message = f"the hub has no model {model_id}"
        raise InputMissing(message, "Check the spelling of `model`.") from error
    message = f"the hub does not answer: {(str(error).splitlines() or [type(error).__name__])[0]}"
    raise StoreUnreachable(
        message, "Try again, or fetch the model elsewhere and name its directory in `model`."
    ) from error


def _status(error: Any) -> int | None:
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status
