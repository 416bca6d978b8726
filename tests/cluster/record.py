"""Record the corpus: `python -m tests.cluster.record --image IMAGE [--private IMAGE] [NAME ...]`.

Plays the provocations on the cluster that KUBECONFIG names and writes what was seen, with what is to be said of it. What
was recorded is reviewed by a person: the expected verdict is the provocation's, never the program's.
"""

import argparse
import json
import os
from dataclasses import asdict

from runner.executors.kubernetes.verdict import verdict
from tests.cluster import provocations as acts
from tests.cluster.provocations import Images
from tests.cluster.stage import Stage
from tests.corpus import CORPUS, fits


def plain(value):
    """A document without what only the API server needs."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "managedFields"}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def document(provocation, observation, renames):
    """One file of the corpus."""
    text = json.dumps(
        {"expected": provocation.expected, **plain(asdict(observation))}, indent=1, sort_keys=True
    )
    for old, new in renames:
        text = text.replace(old, new)
    return text + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--image", required=True)
    parser.add_argument("--private")
    parser.add_argument("--rename", nargs=2, action="append", default=[], metavar=("OLD", "NEW"))
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--groups", default="waiting,refused,ended,disturbed,well")
    options = parser.parse_args()
    images = Images(options.image, options.private)
    chosen = [p for group in options.groups.split(",") for p in getattr(acts, group)(images)]
    chosen = [p for p in chosen if not options.names or p.name in options.names]
    expected = {p.name: p.expected for p in chosen}

    def enough(provocation, observation):
        return fits(verdict(observation), expected[provocation.name])

    with Stage(os.environ["KUBECONFIG"]) as stage:
        renames = [*options.rename, [stage.prefix, "dreambooth"]]
        try:
            seen = stage.play(chosen, enough, options.timeout)
        finally:
            if any(p.needs == "tool" for p in chosen):
                acts.node("start")
    CORPUS.mkdir(parents=True, exist_ok=True)
    for p in chosen:
        (CORPUS / f"{p.name}.json").write_text(document(p, seen[p.name], renames), "utf-8")
        print("ok  " if enough(p, seen[p.name]) else "ODD ", p.name, verdict(seen[p.name]))  # noqa: T201 - a script


if __name__ == "__main__":
    main()
