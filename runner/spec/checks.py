"""What no single setting's type can tell: whether a run makes sense."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from runner.spec.common_words import COMMON_WORDS, STOP_WORDS
from runner.spec.frozen import FrozenConcept
from runner.spec.model import Concept, RunSpec
from runner.spec.tokens import MARKS, USUAL_TOKENS, Tokens

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
ATOM = re.compile(r"[^\W\d_]+|\d")
TOKENS_A_WORD = 1.3
"""CLIP's tokenizer splits English prose into about so many tokens a word."""
SHOWN_TEXT = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a spec that a person should know.

    Attributes:
        severity: an `error` stops submit, a `warning` does not.
        path: the dotted path it is about.
        message: what is wrong or doubtful.
        remedy: what to change.
    """

    severity: Literal["error", "warning"]
    path: str
    message: str
    remedy: str = ""


def check(spec: RunSpec, tokens: Tokens | None = None) -> tuple[Finding, ...]:
    """Everything doubtful about a spec whose single values are sound.

    Args:
        spec: the spec.
        tokens: of the model; None when it is not at hand: then long prompts are guessed at.
    """
    concepts = (_concept(spec, number) for number in range(len(spec.concepts)))
    groups = (
        *concepts,
        _same_instances(spec),
        _training(spec),
        _long_prompts(spec) if tokens is None else _cut_prompts(spec, tokens),
        _places(spec),
    )
    return tuple(finding for group in groups for finding in group)


def words(prompt: str) -> list[str]:
    """The prompt's words in lower case, without punctuation."""
    return [word.lower() for word in WORD.findall(prompt)]


def identifier(concept: Concept | FrozenConcept) -> list[str]:
    """The words that bind the subject: those of the instance prompt that the class prompt lacks."""
    known = {*words(concept.class_prompt or ""), *STOP_WORDS}
    return [word for word in words(concept.instance_prompt) if word not in known]


def class_noun(concept: Concept | FrozenConcept) -> list[str]:
    """The words of the class prompt that say what the subject is."""
    return [word for word in words(concept.class_prompt or "") if word not in STOP_WORDS]


def _concept(spec: RunSpec, number: int) -> Iterator[Finding]:
    concept, at = spec.concepts[number], f"concepts[{number}]"
    if concept.class_prompt is None:
        if spec.train.prior_preservation:
            remedy = "Add class_prompt: the instance prompt without the identifier; or switch prior preservation off."
            message = "is required with train.prior_preservation"
            yield Finding("error", f"{at}.class_prompt", message, remedy)
        return
    if words(concept.class_prompt) == words(concept.instance_prompt):
        remedy = "Give the instance prompt an identifier that the class prompt lacks: photo of sks dog."
        yield Finding("error", f"{at}.class_prompt", "is the same as the instance prompt", remedy)
    elif not class_noun(concept):
        remedy = "Say what the subject is, as in: a photo of a dog."
        yield Finding(
            "error", f"{at}.class_prompt", f"{concept.class_prompt!r} names no class of things", remedy
        )
    else:
        yield from _binding(concept, at)


def _binding(concept: Concept, at: str) -> Iterator[Finding]:
    """Identifier and class noun must meet in the instance prompt, and only there (DreamBooth, section 3.2)."""
    marks, noun = identifier(concept), class_noun(concept)
    instance = words(concept.instance_prompt)
    if not marks:
        remedy = "Add a rare word before the class noun: photo of sks dog."
        yield Finding(
            "error", f"{at}.instance_prompt", "has no identifier: every word is in the class prompt", remedy
        )
    elif not set(noun) & set(instance):
        message = f"does not contain the class noun {' '.join(noun)!r}"
        remedy = f"Bind the identifier to its class: photo of {marks[0]} {noun[-1]}."
        yield Finding("warning", f"{at}.instance_prompt", message, remedy)
    if marks and all(word in COMMON_WORDS for word in marks):
        shown = " ".join(marks)
        remedy = "Take a rare one, as sks, zwx or ohwx."
        message = f"the identifier {shown!r} is a common word, whose own meaning gets in the way"
        yield Finding("warning", f"{at}.instance_prompt", message, remedy)


def _same_instances(spec: RunSpec) -> Iterator[Finding]:
    prompts = [words(concept.instance_prompt) for concept in spec.concepts]
    for number, prompt in enumerate(prompts):
        if prompt in prompts[:number]:
            first = prompts.index(prompt)
            message = f"is the same as that of concepts[{first}]"
            remedy = "Give each concept its own identifier, or put their photos into one concept."
            yield Finding("error", f"concepts[{number}].instance_prompt", message, remedy)


def _training(spec: RunSpec) -> Iterator[Finding]:
    train = spec.train
    steps = train.max_steps
    if train.epochs is None and train.lr_warmup_steps > steps:
        message = f"{train.lr_warmup_steps} is more than train.max_steps, {steps}: the peak is never reached"
        yield Finding("error", "train.lr_warmup_steps", message, "Lower it, or train longer.")
    if train.lr_scheduler == "constant" and train.lr_warmup_steps:
        remedy = "Set train.lr_scheduler: constant_with_warmup, or train.lr_warmup_steps: 0."
        yield Finding("warning", "train.lr_warmup_steps", "has no effect with lr_scheduler: constant", remedy)
    if train.stop_text_encoder_at and not train.train_text_encoder:
        remedy = "Set train.train_text_encoder: true."
        yield Finding(
            "warning", "train.stop_text_encoder_at", "has no effect without train_text_encoder", remedy
        )
    wanted = spec.samples.checkpoint
    if isinstance(wanted, int) and train.epochs is None and wanted > steps:
        message = f"step {wanted} comes after the last, train.max_steps: {steps}"
        yield Finding("error", "samples.checkpoint", message, "Name a step up to max_steps, or last.")


def _cut_prompts(spec: RunSpec, tokens: Tokens) -> Iterator[Finding]:
    for path, prompt in _prompts(spec):
        if cut := tokens.cut(prompt):
            message = f"the model reads {tokens.room} tokens of it: it leaves out {shortened(cut)!r}"
            yield Finding("warning", path, message, "Shorten it.")
    for number, concept in enumerate(spec.concepts):
        if message := lost_subject(concept, tokens):
            yield Finding("error", f"concepts[{number}].instance_prompt", message, LOST_REMEDY)


LOST_REMEDY = "Shorten it, or begin with the subject: photo of sks dog, …"


def lost_subject(concept: Concept | FrozenConcept, tokens: Tokens) -> str:
    """What is wrong with an instance prompt of which the model reads no identifier, or no class noun; else empty."""
    prompt = concept.instance_prompt
    cut, seen = tokens.cut(prompt), _atoms(tokens.read(prompt))
    bound = [identifier(concept), [word for word in class_noun(concept) if word in words(prompt)]]
    if not cut or not any(part and not any(_atoms(word) <= seen for word in part) for part in bound):
        return ""
    return (
        f"the model reads {tokens.room} tokens of it: it leaves out {shortened(cut)!r},"
        " and with it what names the subject"
    )


def _atoms(text: str) -> set[str]:
    """Runs of letters and single digits: no tokenizer joins what these part."""
    return set(ATOM.findall(text.lower()))


def shortened(text: str) -> str:
    """As much of a text as a message holds."""
    return text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT].rstrip() + " …"


def _long_prompts(spec: RunSpec) -> Iterator[Finding]:
    room = USUAL_TOKENS - MARKS
    for path, prompt in _prompts(spec):
        found = words(prompt)
        if len(found) * TOKENS_A_WORD <= room:
            continue
        kept = int(room / TOKENS_A_WORD)
        start = " ".join(found[kept : kept + 5])
        message = (
            f"{len(found)} words; the model reads about {kept}, so all from about {start!r} on is left out"
        )
        yield Finding("warning", path, message, "Shorten it; the run's log shows exactly what is cut.")


def _prompts(spec: RunSpec) -> Iterable[tuple[str, str]]:
    for number, concept in enumerate(spec.concepts):
        yield f"concepts[{number}].instance_prompt", concept.instance_prompt
        yield f"concepts[{number}].class_prompt", concept.class_prompt or ""
    yield from ((f"samples.prompts[{n}]", prompt) for n, prompt in enumerate(spec.samples.prompts))
    yield "samples.negative_prompt", spec.samples.negative_prompt


def _places(spec: RunSpec) -> Iterator[Finding]:
    url = spec.store.url
    if "://" in url and not re.match(r"s3://[^/\s]+", url):
        remedy = "Write s3://bucket/prefix; Google's and others' S3 doors need store.endpoint besides."
        yield Finding("error", "store.url", f"{url!r} is neither s3://bucket/prefix nor a directory", remedy)
    elif spec.executor == "kubernetes" and "://" not in url:
        message = f"pods can't reach the directory {url}"
        yield Finding("error", "store.url", message, "Set store: s3://…, --store or DREAMBOOTH_STORE.")
    if spec.executor == "kubernetes":
        yield from _image(spec)
    elif spec.resources.nodes > 1:
        message = f"{spec.resources.nodes} nodes, and this run is for one machine"
        remedy = "Set resources.gpus to the processes that this machine can run, or executor: kubernetes."
        yield Finding("error", "resources.nodes", message, remedy)


def _image(spec: RunSpec) -> Iterator[Finding]:
    image = spec.kubernetes.image if spec.kubernetes else None
    if image and not re.search(r"[@:][^/]+$", image):
        message = f"{image} has neither a tag nor a digest, so two pods may run different code"
        yield Finding("warning", "kubernetes.image", message, "Name it by digest: image@sha256:….")
