"""The class images that a run will ask for are those that nobody collects."""

import pytest

from runner.runs.garbage import named_by
from runner.runs.layout import class_images_key
from runner.spec.frozen import FrozenConcept, FrozenSpec, ModelRef
from runner.spec.training import ClassImages
from runner.train.class_images import wanted_class_images

SPEC = FrozenSpec(
    name="teddy",
    model=ModelRef(digest="1" * 64),
    vae=ModelRef(digest="3" * 64),
    resolution=64,
    concepts=(FrozenConcept(instance_prompt="sks teddy", class_prompt="a teddy", dataset="2" * 64),),
    class_images=ClassImages(count=7, also=("a dog",), also_count=2),
)


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(("prompt", "count"), [("a teddy", None), ("a dog", 2)])
def test_a_run_names_its_class_images_in_every_precision(dtype, prompt, count):
    wanted = wanted_class_images(SPEC, prompt, dtype, count=count)
    assert class_images_key(wanted.digest) in named_by(SPEC)
