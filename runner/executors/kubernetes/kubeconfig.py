"""What a kubeconfig says of its contexts: enough to choose one, and to explain why it does not work.

The credentials themselves are read by the official client.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runner.errors import Forbidden, InvalidSpec

DEFAULT = Path("~/.kube/config")


@dataclass(frozen=True, slots=True)
class Context:
    """One context.

    Attributes:
        name: its name.
        namespace: its own; None when it names none.
        plugin: its user's credential plugin (the `exec` section); None without.
    """

    name: str
    namespace: str | None
    plugin: Mapping[str, Any] | None


def kubeconfig_files(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The kubeconfig files that exist: those of KUBECONFIG, or the one in the home directory."""
    named = [Path(name).expanduser() for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return tuple(path for path in named or [DEFAULT.expanduser()] if path.exists())


def choose_context(files: tuple[Path, ...], name: str | None) -> Context:
    """The named context, or the current one.

    Raises:
        runner.errors.Forbidden: there is no kubeconfig, or it cannot be read, or its plugin is not installed.
        runner.errors.InvalidSpec: there is no such context.
    """
    if not files:
        raise Forbidden(
            f"there is no kubeconfig at {os.environ.get('KUBECONFIG') or DEFAULT}",
            "Log in to a cluster, or set KUBECONFIG; --executor local needs none.",
        )
    documents = [_read(path) for path in files]
    contexts = _by_name(documents, "contexts", "context")
    wanted = name or next((str(d["current-context"]) for d in documents if d.get("current-context")), None)
    if wanted not in contexts:
        raise InvalidSpec(_no_such(wanted, files), f"Choose one with --context: {_listed(contexts)}.")
    entry = contexts[wanted]
    user = _by_name(documents, "users", "user").get(str(entry.get("user")), {})
    plugin = user.get("exec")
    if isinstance(plugin, dict):
        _check_installed(wanted, plugin, files[0].parent)
        return Context(wanted, entry.get("namespace"), plugin)
    return Context(wanted, entry.get("namespace"), None)


@contextmanager
def overheard() -> Iterator[list[str]]:
    """What the official loader logs about a failing plugin instead of raising it; kept off the terminal."""
    said: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        if Path(record.pathname).name != "kube_config.py":
            return True
        said.append(record.getMessage())
        return False

    root, silent = logging.getLogger(), logging.NullHandler()
    # With no handler, the first message would install one that prints.
    root.addHandler(silent)
    root.addFilter(keep)
    try:
        yield said
    finally:
        root.removeFilter(keep)
        root.removeHandler(silent)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise Forbidden(f"cannot read the kubeconfig {path}: {reason}", "Correct KUBECONFIG.") from error
    except yaml.YAMLError as error:
        raise _damaged(path) from error
    if not isinstance(value or {}, dict):
        raise _damaged(path)
    return value or {}


def _damaged(path: Path) -> Forbidden:
    # Without the parser's own words: they quote the line, which may hold a token.
    return Forbidden(f"{path} is not a kubeconfig", "Log in to the cluster again, or correct KUBECONFIG.")


def _by_name(documents: list[dict[str, Any]], section: str, field: str) -> dict[str, dict[str, Any]]:
    """A section's entries by name; of several files the first that has a name wins, as with kubectl."""
    found: dict[str, dict[str, Any]] = {}
    for document in documents:
        for entry in document.get(section) or ():
            if isinstance(entry, dict) and isinstance(entry.get(field) or {}, dict):
                found.setdefault(str(entry.get("name")), entry.get(field) or {})
    return found


def _no_such(name: str | None, files: tuple[Path, ...]) -> str:
    where = os.pathsep.join(map(str, files))
    return f"no context {name} in {where}" if name else f"{where} has no current context"


def _listed(contexts: Mapping[str, Any]) -> str:
    return ", ".join(sorted(contexts)) or "there is none"


def _check_installed(context: str, plugin: Mapping[str, Any], base: Path) -> None:
    command = str(plugin.get("command", ""))
    # A path is relative to the kubeconfig, a bare name is looked up.
    place = str(base / command) if os.sep in command else command
    if shutil.which(place) is None:
        hint = str(plugin.get("installHint") or "").strip()
        message = f"the context {context} logs in with `{command}`, which is not installed"
        raise Forbidden(message, hint or f"Install {command}, or use another --context.")
