"""Asking the model hub which commit a branch or tag means; the laptop needs no hub library for it."""

import json
import os
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from runner.errors import Forbidden, InputMissing, InvalidSpec
from runner.spec.models import COMMIT

DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT_S = 15.0


def resolve_revision(
    hub_id: str,
    revision: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """The commit, 40 hexadecimal digits, that a revision of a hub model stands for.

    A commit needs no network. Anything else is asked of the hub's API, at `HF_ENDPOINT` when it is set,
    with the token of `HF_TOKEN` or of the hub's own login.

    Raises:
        InvalidSpec: the hub is out of reach, so only a commit can be taken.
        InputMissing: there is no such model or revision.
        Forbidden: the model is gated or private and the token does not open it.
    """
    wanted = revision or "main"
    if COMMIT.fullmatch(wanted):
        return wanted
    endpoint = environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")
    url = f"{endpoint}/api/models/{quote(hub_id)}/revision/{quote(wanted, safe='')}"
    offline = environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    if offline or not endpoint.startswith(("http://", "https://")):
        raise _out_of_reach(
            hub_id, wanted, "HF_HUB_OFFLINE is set" if offline else f"HF_ENDPOINT is {endpoint}"
        )
    try:
        commit = _asked(url, _token(environ), timeout_s)
    except HTTPError as error:
        raise _refused(hub_id, wanted, error.code, endpoint) from error
    except (URLError, TimeoutError, OSError, ValueError) as error:
        raise _out_of_reach(hub_id, wanted, f"{endpoint} does not answer as a hub does") from error
    return commit


def _asked(url: str, token: str | None, timeout_s: float) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=timeout_s) as answer:  # noqa: S310 - http(s) only, checked above
        content = json.load(answer)
    commit = content.get("sha") if isinstance(content, dict) else None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        msg = "the answer holds no commit"
        raise ValueError(msg)
    return commit


def _token(environ: Mapping[str, str]) -> str | None:
    if token := environ.get("HF_TOKEN", "").strip():
        return token
    home = Path(environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    try:
        return Path(environ.get("HF_TOKEN_PATH", home / "token")).read_text("utf-8").strip() or None
    except (OSError, ValueError):
        return None


def _out_of_reach(hub_id: str, revision: str, why: str) -> InvalidSpec:
    message = f"model.revision: {revision!r} of {hub_id} is no commit, and the hub can't be asked: {why}"
    remedy = "Set model.revision: to the commit's 40 hexadecimal digits, or model: to a directory or builtin:emoji."
    return InvalidSpec(message, remedy)


def _refused(hub_id: str, revision: str, status: int, endpoint: str) -> Exception:
    if status == HTTPStatus.NOT_FOUND:
        message = f"model: the hub has no {hub_id} at revision {revision!r}"
        return InputMissing(message, "Check model.id and model.revision; a private model needs HF_TOKEN.")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        message = f"model: {hub_id} is gated, private or does not exist ({status})"
        return Forbidden(message, f"Accept its terms at {endpoint}/{hub_id} and set HF_TOKEN.")
    return _out_of_reach(hub_id, revision, f"{endpoint} answers {status}")
