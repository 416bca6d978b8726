"""Ownership, commits and resume states."""

import pytest

from runner.errors import BadData, Fenced, NotFound, StoreUnreachable
from runner.runs.claims import claim
from runner.runs.commits import Committer
from runner.runs.documents import ResumeState
from runner.runs.ownership import Ownership
from runner.runs.patience import Patience
from runner.runs.published import read_checkpoint, read_trained, sealed_output
from runner.runs.resume import committed_steps, fetch_newest_state, newest_state, state_steps
from runner.runs.verified import download
from tests.unit.runs.worlds import LAYOUT, RUN, claimed, run_store, write_files


@pytest.fixture
def store():
    return run_store(claims=[claimed("train", 1)])


def committer(store, kind="train", k=1):
    return Committer(Ownership.take(store, LAYOUT, kind, k))


def commit(who, tmp_path, step, content="x", **flags):
    files = write_files(tmp_path / f"{content}-{step}", resume__optimizer=content, weights__unet=content * 2)
    return who.checkpoint(step, files, **({"resume": True, "weights": True} | flags))


def test_a_later_attempt_fences_an_earlier_one(store, tmp_path):
    first = committer(store)
    assert commit(first, tmp_path, 1) == "owner"
    second = committer(store)
    with pytest.raises(Fenced):
        commit(first, tmp_path, 2)
    assert commit(second, tmp_path, 2) == "owner"
    assert committed_steps(store, LAYOUT) == (1, 2)


def test_a_later_job_fences_and_an_older_jobs_attempt_does_not(store):
    first = committer(store)
    claim(store, LAYOUT, claimed("train", 2))
    with pytest.raises(Fenced):
        first.ownership.check()
    with pytest.raises(Fenced):
        committer(store)
    second = committer(store, k=2)
    store.put(
        LAYOUT.owner(9),
        first.ownership.layout and store.get(LAYOUT.owner(1)).replace(b'"epoch":1', b'"epoch":9'),
    )
    assert second.ownership.check() == "owner", "it came late for an older Job, and will leave"


def test_an_inference_attempt_does_not_fence_training(store):
    train = committer(store)
    claim(store, LAYOUT, claimed("infer", 1))
    committer(store, "infer")
    assert train.ownership.check() == "owner"


def test_an_attempt_whose_result_exists_has_nothing_to_do(store, tmp_path):
    first = committer(store)
    commit(first, tmp_path, 1)
    assert first.trained() == "done"
    assert Ownership.take(store, LAYOUT, "train", 1) is None
    assert first.ownership.check() == "done"
    assert commit(first, tmp_path, 2) == "done"
    assert read_trained(store, RUN).steps == (1,)


def test_a_step_committed_twice_stays_the_first(store, tmp_path):
    commit(committer(store), tmp_path, 1, "first")
    second = committer(store)
    assert commit(second, tmp_path, 1, "second") == "owner"
    download(store, read_checkpoint(store, RUN, 1).files, tmp_path / "got")
    assert (tmp_path / "got/weights/unet").read_text() == "firstfirst"


def test_the_last_two_resume_states_are_kept_and_every_checkpoint(store, tmp_path):
    who = committer(store)
    for step in (1, 2, 3, 4):
        commit(who, tmp_path, step)
    assert state_steps(store, LAYOUT) == (3, 4)
    assert committed_steps(store, LAYOUT) == (1, 2, 3, 4)
    resume_data = [i.key for i in store.list(LAYOUT.checkpoints) if "/resume/" in i.key]
    assert len(resume_data) == 2
    download(store, read_checkpoint(store, RUN, 1).files, tmp_path / "got")


def test_a_prune_cut_short_is_finished_by_the_next(store, tmp_path):
    who = committer(store)
    commit(who, tmp_path, 1)
    store.delete(LAYOUT.checkpoint_state(1))
    commit(who, tmp_path, 2)
    assert not [i.key for i in store.list(LAYOUT.checkpoint(1)) if "/resume/" in i.key]


def test_no_deletes_after_another_took_over(store, tmp_path):
    who = committer(store)
    for step in (1, 2):
        commit(who, tmp_path, step)
    files = write_files(tmp_path / "three", resume__optimizer="x")
    deleted = []

    class Slow(type(store)):
        """Another attempt takes over just before the first delete."""

        def put_if_absent(self, key, data):
            made = super().put_if_absent(key, data)
            if key == LAYOUT.checkpoint_state(3):
                Ownership.take(self, LAYOUT, "train", 1)
            return made

        def delete(self, key):
            deleted.append(key)
            super().delete(key)

    slow = Slow({info.key: store.get(info.key) for info in store.list()})
    with pytest.raises(Fenced):
        Committer(Ownership(slow, LAYOUT, who.ownership.attempt)).checkpoint(
            3, files, resume=True, weights=False
        )
    assert not deleted


def test_resuming_takes_the_newest_sound_state(store, tmp_path):
    who = committer(store)
    commit(who, tmp_path, 1, "a")
    commit(who, tmp_path, 2, "b")
    assert newest_state(store, LAYOUT).step == 2
    state = ResumeState.from_bytes(store.get(LAYOUT.checkpoint_state(2)), "")
    store.put(state.files["optimizer"].key, b"damaged")
    found = fetch_newest_state(who.ownership, tmp_path / "resume")
    assert (found.step, (tmp_path / "resume/optimizer").read_text()) == (1, "a")
    assert state_steps(store, LAYOUT) == (1,), "the damaged one is dropped"
    assert commit(who, tmp_path, 2, "c") == "owner"
    assert fetch_newest_state(who.ownership, tmp_path / "again").step == 2


def test_a_state_that_lost_its_data_is_replaced(store, tmp_path):
    who = committer(store)
    commit(who, tmp_path, 1, "a")
    state = ResumeState.from_bytes(store.get(LAYOUT.checkpoint_state(1)), "")
    store.delete(state.files["optimizer"].key)
    commit(committer(store), tmp_path, 1, "b")
    assert fetch_newest_state(committer(store).ownership, tmp_path / "r").step == 1
    assert (tmp_path / "r/optimizer").read_text() == "b"


def test_training_without_a_checkpoint_is_not_over(store):
    with pytest.raises(BadData, match="no committed checkpoint"):
        committer(store).trained()


def publish(store, tmp_path, content="x"):
    who = committer(store, "infer")
    files = write_files(tmp_path / content, model__unet=content, report=content)
    assert who.output(files, {"unet.safetensors": "model/unet", "report.html": "report"}) == "owner"
    return who


def test_the_output_is_sealed_and_restored_by_its_published_names(store, tmp_path):
    claim(store, LAYOUT, claimed("infer", 1))
    first = publish(store, tmp_path, "first")
    with pytest.raises(NotFound, match="not succeeded"):
        sealed_output(store, RUN)
    second = publish(store, tmp_path, "second")
    with pytest.raises(Fenced):
        first.seal()
    assert second.seal() == "done"
    download(store, sealed_output(store, RUN).published, tmp_path / "got")
    assert (tmp_path / "got/unet.safetensors").read_text() == "first"
    store.put(LAYOUT.output_manifest, store.get(LAYOUT.output_manifest).replace(b"report", b"rapport"))
    with pytest.raises(BadData, match="sealed"):
        sealed_output(store, RUN)


def test_an_output_whose_files_are_missing_is_refused_with_a_remedy(store, tmp_path):
    claim(store, LAYOUT, claimed("infer", 1))
    publish(store, tmp_path)
    gone = next(i.key for i in store.list(LAYOUT.output) if i.key.endswith("model/unet"))
    store.delete(gone)
    who = committer(store, "infer")
    with pytest.raises(BadData) as caught:
        who.output(write_files(tmp_path / "b", f="b"), {"f": "f"})
    assert LAYOUT.output_manifest in caught.value.remedy


def test_a_commit_waits_15_minutes_for_its_store():
    now, calls = [0.0], []

    def down():
        calls.append(now[0])
        raise StoreUnreachable("down")

    patience = Patience(clock=lambda: now[0])
    assert not patience.attempt(down)
    now[0] = 899.0
    assert not patience.attempt(down)
    assert patience.attempt(lambda: None)
    assert not patience.attempt(down)
    now[0] = 899.0 + 900.0
    with pytest.raises(StoreUnreachable):
        patience.attempt(down)
