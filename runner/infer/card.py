"""The model card: what the model is, what it draws, how to use it."""

import json

from runner.evaluate.choice import Choice
from runner.infer.samples import AFTER, BEFORE, Drawn
from runner.spec.frozen import FrozenSpec

_SHOWN_PICTURES = 4


def model_card(spec: FrozenSpec, choice: Choice, drawn: Drawn) -> str:
    """`README.md` of the output, in the form that the model hub reads."""
    sections = [
        _front_matter(spec),
        _opening(spec, choice),
        _pictures(drawn),
        _usage(spec),
        _settings(spec),
        _licence(spec),
    ]
    return "\n".join(section for section in sections if section)


def _front_matter(spec: FrozenSpec) -> str:
    hub = spec.model.source and not spec.model.source.startswith("builtin:")
    lines = [
        "---",
        "library_name: diffusers",
        "pipeline_tag: text-to-image",
        *([f"base_model: {spec.model.source}"] if hub else []),
        f"instance_prompt: {json.dumps(spec.concepts[0].instance_prompt, ensure_ascii=False)}",
        "tags: [text-to-image, diffusers, dreambooth, stable-diffusion]",
        "---",
        "",
    ]
    return "\n".join(lines)


def _opening(spec: FrozenSpec, choice: Choice) -> str:
    base = spec.model.source or f"a model with digest {spec.model.digest[:12]}"
    revision = f" at {spec.model.revision}" if spec.model.revision else ""
    words = "\n".join(
        f"- `{c.instance_prompt}`" + (f" (class: `{c.class_prompt}`)" if c.class_prompt else "")
        for c in spec.concepts
    )
    return (
        f"# {spec.name}\n\n{base}{revision}, fine-tuned with DreamBooth ({spec.train.method}) on:\n\n{words}\n\n"
        f"These are the weights of step {choice.step} of {spec.train.max_steps}: {choice.reason}.\n"
    )


def _pictures(drawn: Drawn) -> str:
    rows = []
    for number, prompt in enumerate(drawn.wanted.prompts):
        names = [f"{number:02d}-{i:02d}.png" for i in range(min(_SHOWN_PICTURES, drawn.wanted.count))]
        before = " ".join(f"![before]({BEFORE}/{name})" for name in names)
        after = " ".join(f"![after]({AFTER}/{name})" for name in names)
        rows.append(f"| {_cell(prompt)} | {before} | {after} |")
    note = "".join(
        f"\nThe model does not read all of a long prompt: of “{prompt}” it leaves out “{cut}”.\n"
        for prompt, cut in drawn.cut.items()
    )
    header = "## Samples\n\nThe same prompts and seeds, before and after.\n\n| prompt | base model | this model |\n| - | - | - |\n"
    return header + "\n".join(rows) + "\n" + note


def _usage(spec: FrozenSpec) -> str:
    prompt = spec.samples.prompts[0] if spec.samples.prompts else spec.concepts[0].instance_prompt
    lora = (
        f"\n`lora/pytorch_lora_weights.safetensors` is the adapter for diffusers, `lora/{spec.name}-lora.safetensors` the same"
        " for stable-diffusion-webui and ComfyUI (`models/Lora`).\n"
        if spec.train.method == "lora"
        else ""
    )
    return f"""## How to use it

```python
from diffusers import StableDiffusionPipeline

pipeline = StableDiffusionPipeline.from_pretrained("model")
pipeline({json.dumps(prompt, ensure_ascii=False)}).images[0].save("picture.png")
```

`{spec.name}.safetensors` is the same model in one file: put it into `models/Stable-diffusion` of stable-diffusion-webui or
`models/checkpoints` of ComfyUI, if its base model is of a size that they know, or load it with
`StableDiffusionPipeline.from_single_file("{spec.name}.safetensors", config="model")`.
{lora}"""


def _settings(spec: FrozenSpec) -> str:
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in settings(spec))
    return f"## How it was made\n\n| setting | value |\n| - | - |\n{rows}\n"


def settings(spec: FrozenSpec) -> tuple[tuple[str, str], ...]:
    """What a reader wants to know of the training, as name and value."""
    train = spec.train
    pairs: dict[str, object] = {
        "resolution": f"{spec.resolution} px",
        "method": train.method,
        "steps": train.max_steps,
        "learning rate": f"{train.learning_rate:g}, {train.lr_scheduler}",
        "batch": f"{train.batch_size} × {train.gradient_accumulation} × {spec.world_size}",
        "text encoder": "trained" if train.train_text_encoder else "frozen",
        "prior preservation": f"weight {train.prior_weight:g}" if train.prior_preservation else "off",
        "class images": spec.class_images.count if train.prior_preservation else "none",
        "seed": train.seed,
        "samples": f"{spec.samples.sampler}, {spec.samples.steps} steps, guidance {spec.samples.guidance_scale:g}",
    }
    if train.method == "lora":
        pairs["adapter"] = f"rank {train.lora.rank}, alpha {train.lora.alpha:g}" + (
            ", DoRA" if train.lora.dora else ""
        )
    return tuple((name, str(value)) for name, value in pairs.items())


def _licence(spec: FrozenSpec) -> str:
    base = spec.model.source or "the base model"
    return (
        f"## Licence\n\nThe licence of {base} holds for these weights too. The photos' rights stay with their owners: "
        "do not publish a model of a person who has not agreed.\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
