from runner.spec.frozen import FrozenConcept, FrozenSpec, ModelRef
from runner.spec.training import ClassImages
from runner.train.images import wanted_sets


def spec(concepts, **class_images):
    return FrozenSpec(
        name="teddy",
        model=ModelRef(digest="a" * 64),
        resolution=64,
        concepts=tuple(concepts),
        class_images=ClassImages(count=64, **class_images),
    )


def concept(class_prompt="a photo of a dog", **changes):
    values = {"instance_prompt": "a photo of sks dog", "dataset": "b" * 64, "class_prompt": class_prompt}
    return FrozenConcept(**{**values, **changes})


def wanted(value):
    return [(one.prompt, one.options.count) for one in wanted_sets(value, "fp32")]


def test_other_prompts_join_with_a_count_of_their_own():
    value = spec([concept()], also=("a photo of a cat", "a photo of a dog"), also_count=5)
    assert wanted(value) == [("a photo of a dog", 64), ("a photo of a cat", 5)]


def test_concepts_of_one_class_share_their_images():
    assert wanted(spec([concept(), concept(dataset="c" * 64)])) == [("a photo of a dog", 64)]


def test_own_class_images_are_not_made_nor_is_their_prompt_among_the_others():
    value = spec([concept(class_dataset="d" * 64)], also=("a photo of a dog", "a photo of a cat"))
    assert wanted(value) == [("a photo of a cat", 4)]


def test_the_same_picture_is_the_same_in_either_role():
    (as_class,) = wanted_sets(spec([concept("a photo of a cat")]), "fp32")
    as_other = wanted_sets(spec([concept()], also=("a photo of a cat",)), "fp32")[1]
    assert as_class.digest == as_other.digest
