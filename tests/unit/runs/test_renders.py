import json

import pytest

from runner.errors import BadData, InputMissing, InvalidSpec
from runner.runs.prompts import parse_prompts, read_prompts
from runner.runs.renders import RenderPlan, image_line, make_plan, plan_samples
from runner.spec.model import Samples

RUN = "a" * 64
DEFAULTS = Samples(size=512, count=2, guidance_scale=5.0, steps=20, negative_prompt="blurry")


def plan(text, name="prompts.txt", shards=1, defaults=DEFAULTS):
    return make_plan(parse_prompts(text.encode(), name), defaults, run_digest=RUN, shards=shards)


def test_plain_text_is_one_prompt_a_line():
    lines = parse_prompts(b"\xef\xbb\xbf# places\na dog in the snow\r\n\n  a dog, by the sea  \n", "p.txt")
    assert [line.prompt for line in lines] == ["a dog in the snow", "a dog, by the sea"]


def test_json_lines_override_each_setting():
    text = (
        """{"prompt": "a dog", "count": 3, "seed": 7, "steps": 9, "guidance_scale": 2, "size": "64x128",
    """.replace("\n", " ")
        + """ "sampler": "euler_a", "negative_prompt": ""}\n"a cat"\n"""
    )
    dog, cat = plan(text, "p.jsonl").prompts
    assert (dog.seeds, dog.steps, dog.guidance_scale, dog.size, dog.sampler, dog.negative_prompt) == (
        (7, 8, 9),
        9,
        2.0,
        (64, 128),
        "euler_a",
        "",
    )
    assert (len(cat.seeds), cat.steps, cat.size, cat.negative_prompt) == (2, 20, (512, 512), "blurry")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "a"', "p.jsonl:2: it is not JSON"),
        ("[1]", "p.jsonl:2: it is neither an object nor a text"),
        ('{"promt": "a"}', "unknown key 'promt', did you mean 'prompt'?"),
        ('{"prompt": " "}', "p.jsonl:2: prompt: it holds no word"),
        ('{"prompt": "a", "steps": 0}', "p.jsonl:2: steps: Input should be greater than or equal to 1"),
        ('{"prompt": "a", "size": 500}', "multiple of 8"),
        ('{"prompt": "a", "size": [64, 64, 64]}', "write 512 or 512x768"),
        ('{"prompt": "a", "size": {"w": 64}}', "write 512 or 512x768"),
        ('{"prompt": "a", "size": 64.5}', "p.jsonl:2: size"),
        ('{"prompt": "a", "sampler": "magic"}', "there is no sampler 'magic': choose one of dpmpp_2m"),
        ('{"prompt": "a", "seed": -1}', "p.jsonl:2: seed"),
    ],
)
def test_wrong_line_is_named_with_its_number_and_reason(line, words):
    with pytest.raises(BadData) as caught:
        parse_prompts(f'{{"prompt": "fine"}}\n{line}\n'.encode(), "p.jsonl")
    assert words in caught.value.message
    assert caught.value.container_code == 65


def test_all_wrong_lines_are_named_at_once():
    with pytest.raises(BadData) as caught:
        parse_prompts(b"{}\n" * 30, "p.jsonl")
    assert caught.value.message.count("\n") == 20
    assert caught.value.message.endswith("… and 10 more lines")


def test_file_without_prompts_is_refused():
    with pytest.raises(BadData, match="holds no prompt"):
        parse_prompts(b"# nothing\n\n", "p.txt")


def test_file_that_is_not_utf8_is_refused_with_the_line():
    with pytest.raises(BadData, match=r"p\.txt:2: it is not UTF-8"):
        parse_prompts(b"fine\n\xff\n", "p.txt")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputMissing, match="No such file"):
        read_prompts(tmp_path / "p.txt")


def test_shards_draw_every_picture_once_and_the_same_ones_whatever_their_number():
    text = "\n".join(f"a dog {i}" for i in range(5))
    whole = list(plan(text).items())
    for shards in (1, 2, 3, 10):
        divided = plan(text, shards=shards)
        drawn = [item for k in range(divided.shards) for item in divided.shard(k)]
        assert sorted(drawn, key=lambda item: item.name) == whole
        assert divided.render_id() == plan(text).render_id()


def test_no_more_shards_than_pictures():
    assert plan("a dog", shards=50).shards == 2


def test_shard_out_of_range_is_refused():
    with pytest.raises(InvalidSpec, match="shard 2 of a plan with 2"):
        plan("a dog", shards=2).shard(2)


def test_seeds_follow_the_prompt_and_the_number_not_the_place_in_the_file():
    first, second = plan("a dog\na cat"), plan("a cat\na dog")
    assert first.prompts[0].seeds == second.prompts[1].seeds
    assert first.prompts[0].seeds != first.prompts[1].seeds


def test_prompt_that_comes_twice_gets_new_seeds():
    once, twice = plan("a dog").prompts, plan("a dog\na dog").prompts
    assert twice[0] == once[0]
    assert set(twice[0].seeds).isdisjoint(twice[1].seeds)


def test_plan_survives_the_store():
    made = plan("a dog\nein Bär ☃", shards=2)
    assert RenderPlan.from_bytes(made.to_bytes(), "plan.json") == made


def test_other_pictures_make_another_render_and_other_batches_do_not():
    base = plan("a dog").render_id()
    assert plan("a dog", defaults=DEFAULTS.model_copy(update={"steps": 21})).render_id() != base
    assert plan("a dog", defaults=DEFAULTS.model_copy(update={"batch_size": 1})).render_id() == base


def test_samples_section_makes_the_same_pictures_as_its_prompts_in_a_file():
    samples = DEFAULTS.model_copy(update={"prompts": ("a dog", "a cat")})
    assert plan_samples(samples, run_digest=RUN) == plan("a dog\na cat")


def test_image_line_says_everything_about_a_picture():
    item = next(plan("a dog").items())
    line = json.loads(image_line(item))
    assert line["file"] == "00000-000.png"
    assert (line["prompt"], line["negative_prompt"], line["seed"]) == ("a dog", "blurry", item.seed)
    assert (line["width"], line["height"], line["steps"], line["sampler"]) == (
        512,
        512,
        20,
        "dpmpp_2m_karras",
    )
