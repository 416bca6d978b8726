"""Draw prompts with a published run, whatever happens meanwhile."""

import json

import pytest

from runner.errors import (
    BadData,
    Cancelled,
    Conflict,
    InputMissing,
    InvalidSpec,
    NotFound,
    RunFailed,
    TimeoutReached,
)
from runner.runs.cancel import wish
from runner.runs.documents import JobClaim, LocalProcess
from runner.runs.render_facts import shard_attempt
from runner.services.cancel import cancel_render
from runner.services.fetch import fetch_render
from runner.services.logs import RenderLog
from runner.services.prepare import PreparedRun
from runner.services.render import cut_by_the_model, open_render, other_samples, read_lines, save_render
from runner.services.submit import PackagedRun
from runner.spec.models import builtin_path


def test_every_picture_is_drawn_and_counted(studio):
    result, statuses = studio.draw(studio.plan(shards=2))
    assert (result.pictures, result.drawn, result.new, result.missing) == (6, 6, 6, ())
    assert result.gallery == f"{studio.store.url}/{studio.plan().layout.gallery}"
    assert [status.step for status in statuses if status.phase == "drawing"][-1] == 6
    assert all(status.max_steps == 6 for status in statuses)
    result.require_all()


def test_same_request_is_same_render_and_draws_nothing_again(studio):
    first, _ = studio.draw()
    made = list(studio.painter.created)
    again, statuses = studio.draw()
    assert (again.render, again.drawn, again.new) == (first.render, 6, 0)
    assert studio.painter.created == made
    assert statuses == []


def test_what_the_model_does_not_read_of_a_prompt_is_known_before_it_is_drawn(studio):
    base = builtin_path("emoji")
    names = ["tokenizer/merges.txt", "tokenizer/tokenizer_config.json", "text_encoder/config.json"]
    studio.publish({f"model/{name}": (base / name).read_bytes() for name in names})
    long = "a teddy " + "in the red room " * 6
    assert cut_by_the_model(studio.plan((long, "a teddy"))) == {long: "red room in the red room"}
    studio.publish()
    assert cut_by_the_model(studio.plan((long,))) == {}


def test_a_renders_log_is_that_of_all_its_shards(studio):
    render = save_render(studio.plan(shards=2))
    for shard in (0, 1):
        files = render.layout.attempt(shard_attempt(1, shard, "a").text)
        line = {"s": "out", "t": 1.0, "m": f"shard {shard}"}
        studio.store.put(files.log(1), json.dumps(line).encode() + b"\n")
    log = RenderLog(render)
    assert [entry.text for entry in log.new_entries()] == ["shard 0", "shard 1"]
    assert list(log.new_entries()) == []
    other = save_render(studio.plan(seed=9))
    assert list(RenderLog(other).new_entries()) == []


def test_other_settings_are_another_render(studio):
    ids = {
        studio.plan().render_id,
        studio.plan(count=3).render_id,
        studio.plan(seed=1).render_id,
        studio.plan(size="64x128").render_id,
        studio.plan(PROMPTS_REVERSED).render_id,
    }
    assert len(ids) == 5


PROMPTS_REVERSED = ("a teddy on a blue chair", "a teddy on a red chair")


def test_shards_are_no_part_of_the_request(studio):
    studio.draw(studio.plan(shards=2))
    second = save_render(studio.plan(shards=3))
    assert second.plan.shards == 2
    assert studio.draw(second)[0].new == 0


def test_shards_draw_in_turn_and_at_once_when_asked(studio):
    drawing = studio.drawing(studio.plan(shards=3))
    next(status for status in drawing.statuses() if status.phase == "drawing")
    assert len(studio.painter.created) == 1

    other = studio.drawing(studio.plan(seed=5, shards=3), parallel=2)
    next(status for status in other.statuses() if status.phase == "drawing")
    assert len(studio.painter.created) == 3


def test_after_a_kill_only_what_is_missing_is_drawn(studio):
    drawing = studio.drawing(studio.plan(shards=2))
    statuses = drawing.statuses()
    while len(studio.painter.drawn) < 4:
        next(statuses)
    studio.painter.kill(studio.painter.created[-1])  # and the command with it: nobody asks `statuses` again
    before = list(studio.painter.drawn)

    result, _ = studio.draw(studio.plan(shards=2))
    assert (result.drawn, result.new) == (6, 2)
    assert len(set(studio.painter.drawn)) == len(studio.painter.drawn) == 6
    assert studio.painter.drawn[:4] == before
    assert studio.painter.created[-1].endswith("-2-1"), (
        "a second Job, and only the shard that had something to do"
    )


def test_a_command_that_died_between_claim_and_start_is_continued(studio):
    render = save_render(studio.plan())
    drawing = studio.drawing(render)
    drawing._shards.claim(1, cancel_seen=0)
    assert studio.draw(render)[0].drawn == 6
    assert studio.store.size(render.layout.job_claim(2)) is None


def test_second_command_watches_the_first_ones_shards(studio):
    first = studio.drawing(studio.plan(shards=3)).statuses()
    next(status for status in first if status.phase == "drawing")
    result, _ = studio.draw(studio.plan(shards=3))
    assert result.drawn == 6
    assert all(name.rpartition("-")[0].endswith("-1") for name in studio.painter.created)
    assert len(studio.painter.created) == len(set(studio.painter.created)) == 3


def test_failed_shard_costs_only_its_own_pictures(studio):
    studio.painter.failing = {1: (65, "picture 00000-001.png is too large")}
    result, _ = studio.draw(studio.plan(shards=3))
    assert (result.drawn, result.missing) == (4, ("00000-001.png", "00002-000.png"))
    assert result.failures[0].pictures == result.missing
    assert result.gallery is None
    with pytest.raises(RunFailed) as caught:
        result.require_all()
    assert "2 of 6 pictures are missing" in caught.value.message
    assert "shard 1 ended with exit code 65: picture 00000-001.png is too large" in caught.value.message
    assert "Mend it." in caught.value.remedy

    studio.painter.failing = {}
    assert studio.draw(studio.plan(shards=3))[0].new == 2


def test_what_fails_every_shard_is_not_tried_with_each(studio):
    studio.painter.failing = dict.fromkeys(range(3), (66, "the published model is missing"))
    result, _ = studio.draw(studio.plan(shards=3))
    assert len(studio.painter.created) == 1
    assert len(result.missing) == 6


def test_shard_killed_outright_is_reported(studio):
    drawing = studio.drawing()
    statuses = drawing.statuses()
    next(status for status in statuses if status.phase == "drawing")
    studio.painter.kill(studio.painter.created[0])
    list(statuses)
    assert drawing.result().failures[0].code == 137
    assert "its processes were killed" in drawing.result().failures[0].cause


def test_interrupt_keeps_what_is_drawn(studio):
    drawing = studio.drawing()
    statuses = drawing.statuses()
    while len(studio.painter.drawn) < 3:
        next(statuses)
    drawing.stop(grace_s=1)
    assert drawing.interrupted().endswith("has 3 of 6 pictures and is stopped")
    assert studio.draw()[0].new == 3


def test_timeout_leaves_the_shard_at_work(studio):
    ticks = iter(range(100))
    drawing = studio.drawing(clock=lambda: next(ticks))
    with pytest.raises(TimeoutReached, match=r"has \d of 6 pictures after 3 s"):
        list(drawing.statuses(timeout_s=3))
    assert studio.painter.jobs(studio.run.run_id)[0].alive


def test_cancel_stops_the_holder_and_a_later_request_goes_on(studio):
    drawing = studio.drawing(studio.plan(shards=2))
    statuses = drawing.statuses()
    next(status for status in statuses if status.phase == "drawing")
    wish(studio.store, drawing.render.layout, now=0.0)
    with pytest.raises(Cancelled):
        list(statuses)
    assert len(studio.painter.created) == 1
    assert studio.draw(studio.plan(shards=2))[0].drawn == 6


def test_cancel_of_what_is_over_or_never_began_is_refused(studio):
    render = save_render(studio.plan())
    with pytest.raises(Conflict, match="never begun"):
        cancel_render(render)
    studio.draw(render)
    with pytest.raises(Conflict, match="is drawn"):
        cancel_render(render)


def test_job_of_another_machine_is_left_alone_while_it_moves(studio):
    render = save_render(studio.plan())
    claim = JobClaim(kind="render", k=1, created=0.0, local=LocalProcess(host="elsewhere", pid=1))
    studio.store.put(render.layout.job_claim(1), claim.to_bytes())
    seconds = 0.0

    def wait(_seconds):
        nonlocal seconds
        seconds += 20
        studio.painter.work()

    drawing = studio.drawing(render, sleep=wait)
    drawing._shards._still._clock = lambda: seconds
    assert not studio.painter.created
    list(drawing.statuses())
    assert drawing.result().drawn == 6
    assert studio.store.size(render.layout.job_claim(2)) is not None


def test_unpublished_run_cannot_draw(tmp_path):
    from tests.unit.services.conftest import Studio

    with pytest.raises(NotFound, match="has not succeeded yet"):
        Studio(tmp_path).plan()


def test_unknown_checkpoint_is_refused(studio):
    with pytest.raises(NotFound, match="no checkpoint at step 7"):
        studio.plan(checkpoint=7)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"count": 0}, "--count"),
        ({"guidance_scale": 99.0}, "--guidance-scale"),
        ({"size": "65"}, "--size 65"),
    ],
)
def test_setting_out_of_bounds_names_its_option(studio, settings, words):
    with pytest.raises(InvalidSpec) as caught:
        studio.plan(**settings)
    assert words in caught.value.message


def test_prompts_come_from_a_file_from_stdin_and_from_options(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "from a file", "count": 3}))
    assert [line.prompt for line in read_lines(str(path), ["typed"])] == ["from a file", "typed"]
    assert read_lines("-", [], b'\n {"prompt": "piped", "count": 2}\n')[0].count == 2
    assert read_lines("-", [], b"piped\n")[0].prompt == "piped"
    with pytest.raises(InputMissing):
        read_lines(str(tmp_path / "none.txt"), [])
    with pytest.raises(BadData) as caught:
        read_lines("-", [], b'{"prompt": "a", "stpes": 2}\n{"prompt": ""}\n')
    assert "stdin.jsonl:1" in caught.value.message
    assert "stdin.jsonl:2" in caught.value.message


def test_unknown_render_lists_the_others(studio):
    render = save_render(studio.plan())
    assert open_render(studio.run, render.render_id).plan == render.plan
    with pytest.raises(NotFound) as caught:
        open_render(studio.run, "r000000")
    assert render.render_id in caught.value.remedy


def test_fetch_brings_pictures_by_name(studio, tmp_path):
    render = save_render(studio.plan())
    with pytest.raises(NotFound, match="nothing"):
        fetch_render(render, tmp_path / "to")
    studio.draw(render)
    assert fetch_render(render, tmp_path / "two", ["00001-*"]).files == ("00001-000.png", "00001-001.png")
    everything = fetch_render(render, tmp_path / "to")
    assert len(everything.files) == 8
    assert (tmp_path / "to/00001-000.png").read_text() == "a teddy on a blue chair"
    assert (tmp_path / "to/gallery.html").exists()
    with pytest.raises(Conflict):
        fetch_render(render, tmp_path / "to")


def test_other_samples_of_a_submit_are_a_render_of_the_run(studio):
    stored = studio.run.frozen
    asked = stored.model_copy(
        update={"samples": stored.samples.model_copy(update={"prompts": ("a new one",)})}
    )
    submit = PackagedRun(
        PreparedRun(None, asked, studio.place, (), ()), stored, "0" * 64, created=False, made_datasets=()
    )
    render = other_samples(submit, studio.run.jobs)
    assert studio.draw(save_render(render))[0].drawn == 2
    assert [prompt.prompt for prompt in render.plan.prompts] == ["a new one"]

    same = PackagedRun(
        PreparedRun(None, stored, studio.place, (), ()), stored, "0" * 64, created=False, made_datasets=()
    )
    assert other_samples(same, studio.run.jobs) is None
