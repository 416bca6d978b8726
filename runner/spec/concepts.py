"""Reading `concepts_list.json` of the older DreamBooth scripts: `runner init --from-concepts`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from runner.errors import InputMissing
from runner.spec.problems import Problem, SpecProblems, shown
from runner.spec.template import STARTER

KEYS: Final[Mapping[str, str]] = {
    "instance_prompt": "instance_prompt",
    "class_prompt": "class_prompt",
    "instance_data_dir": "instance_images",
    "class_data_dir": "class_images",
}
REQUIRED: Final = ("instance_prompt", "instance_data_dir")
COUNT: Final = "num_class_images"


def from_concepts_list(path: Path) -> dict[str, Any]:
    """The spec that such a file describes, with a name and a model, of which it says nothing.

    The name is that of the first concept's folder, the model the one that the older scripts' guides take.

    A `class_data_dir` that is empty or missing is where the older scripts would have put made class
    images; here those go into the store, so only a filled one is kept.

    Raises:
        InputMissing: there is no such file.
        SpecProblems: it is no list of concepts; everything that is wrong at once.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        items = json.loads(text)
    except FileNotFoundError as error:
        msg = f"there is no file {path}"
        raise InputMissing(msg, "Name the concepts_list.json of the older scripts.") from error
    except (OSError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        problem = Problem("", "is not JSON", "It must be a list of {...} entries.", f"{path}{line}")
        raise SpecProblems(str(path), [problem]) from error
    if problems := _problems(items, str(path)):
        raise SpecProblems(str(path), problems)
    return _values(items, path.parent)


def _problems(items: Any, where: str) -> list[Problem]:
    if not isinstance(items, list) or not items:
        return [Problem("", "must be a list of concepts", "Write [{...}, {...}].", where)]
    return [problem for number, item in enumerate(items) for problem in _item_problems(item, number, where)]


def _item_problems(item: Any, number: int, where: str) -> list[Problem]:
    if not isinstance(item, dict):
        return [Problem(f"[{number}]", f"must be {{...}}, not {shown(item)}", where=where)]
    missing = [
        Problem(f"[{number}].{key}", "is required", where=where) for key in REQUIRED if not item.get(key)
    ]
    unknown = [
        Problem(f"[{number}].{key}", "unknown key", f"Known keys: {', '.join((*KEYS, COUNT))}.", where)
        for key in item
        if key not in KEYS and key != COUNT
    ]
    wrong = [
        Problem(f"[{number}].{key}", f"takes text, not {shown(item[key])}", where=where)
        for key in KEYS
        if item.get(key) and not isinstance(item[key], str)
    ]
    return [*missing, *unknown, *wrong]


def _values(items: list[dict[str, Any]], base_dir: Path) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": _name(items[0]["instance_data_dir"]),
        "model": STARTER["model"],
        "concepts": [_concept(item, base_dir) for item in items],
        "store": STARTER["store"],
    }
    counts = [item[COUNT] for item in items if isinstance(item.get(COUNT), int)]
    if counts:
        values["class_images"] = {"count": max(counts)}
    if not any("class_prompt" in concept for concept in values["concepts"]):
        values["train"] = {"prior_preservation": False}
    return values


def _name(folder: str) -> str:
    """A run's name after a folder's: lower-case letters, digits and dashes."""
    last = re.sub(r"[^a-z0-9]+", "-", folder.rstrip("/").rpartition("/")[2].lower())
    return last[:32].strip("-") or str(STARTER["name"])


def _concept(item: Mapping[str, Any], base_dir: Path) -> dict[str, str]:
    found = {ours: item[theirs] for theirs, ours in KEYS.items() if item.get(theirs)}
    own = base_dir / found.get("class_images", "")
    if "class_images" in found and not (own.is_dir() and any(own.iterdir())):
        del found["class_images"]
    return found
