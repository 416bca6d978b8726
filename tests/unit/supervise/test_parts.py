"""The supervisor's parts, each by itself: deadlines, the log's buffer, memory figures, command lines."""

import io
import json
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest

from runner.errors import Cancelled, Fenced, StoreUnreachable, Usage
from runner.supervise.command import Machine, has_cuda, program_command
from runner.supervise.deadlines import Deadlines, Limits
from runner.supervise.logs import LogBook
from runner.supervise.memory import Memory, container_memory
from runner.supervise.options import parse_options
from runner.supervise.threads import thread_settings

LIMITS = Limits(grace_s=100, cancel_s=600, report_s=5, linger_s=60, lost_s=20)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def seconds_left(*notes):
    """How long a program has from the last note on; None without a limit."""
    clock = Clock()
    deadlines = Deadlines(LIMITS, clock)
    for note in notes:
        deadlines.note(**({"told": False, "failure": None, "ending": False} | note))
    for second in range(1000):
        clock.now = 1000.0 + second
        if deadlines.over():
            return second
    return None


@pytest.mark.parametrize(
    ("notes", "left"),
    [
        ([{}], None),
        ([{"told": True}], 95),
        ([{"failure": Cancelled("x")}], 595),
        ([{"failure": Cancelled("x")}, {"failure": Cancelled("x"), "told": True}], 95),
        ([{"told": True}, {"told": True, "failure": Cancelled("x")}], 95),
        ([{"failure": StoreUnreachable("x")}], 95),
        ([{"failure": Cancelled("x")}, {"failure": Fenced("x")}], 0),
        ([{"ending": True}], 60),
        ([{"lost": "node 1 is gone"}], 20),
        ([{"told": True}, {"told": True, "lost": "node 1 is gone"}], 20),
        ([{"ending": True}, {"ending": True, "told": True}], 60),
    ],
)
def test_how_long_a_program_has(notes, left):
    assert seconds_left(*notes) == left


def test_being_told_again_gives_no_more_time():
    clock = Clock()
    deadlines = Deadlines(LIMITS, clock)
    for _ in range(95):
        deadlines.note(told=True, failure=None, ending=False)
        assert not deadlines.over()
        clock.now += 1
    assert deadlines.over()


def test_a_log_whose_store_is_down_keeps_the_newest_lines_and_says_how_many_it_lost():
    book = LogBook(lambda text: text, echo=io.StringIO(), limit=10_000)
    for i in range(1000):
        book.add("out", f"line {i}")
    lines = [json.loads(line)["m"] for line in book.segment().splitlines()]
    kept = lines[1:]
    assert kept[-1] == "line 999"
    assert lines[0] == f"({1000 - len(kept)} lines were dropped while the store did not answer)"
    assert kept == [f"line {i}" for i in range(1000 - len(kept), 1000)]


def test_a_segment_stays_the_same_until_it_is_stored():
    book = LogBook(lambda text: text, echo=io.StringIO())
    book.add("out", "one")
    first = book.segment()
    book.add("out", "two")
    assert book.segment() == first
    book.shipped()
    assert [json.loads(line)["m"] for line in book.segment().splitlines()] == ["two"]


def test_a_closed_console_does_not_stop_the_log():
    console = io.StringIO()
    console.close()
    book = LogBook(lambda text: text, echo=console)
    book.add("out", "still here")
    assert b"still here" in book.segment()


def test_memory_of_a_container_with_cgroup_v2(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    (tmp_path / "memory.peak").write_text("1000\n")
    (tmp_path / "memory.max").write_text("2000\n")
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert container_memory(tmp_path) == Memory(peak=1000, limit=2000, oom_kills=2)
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory(tmp_path).limit is None


def test_memory_of_a_container_with_cgroup_v1_and_of_none(tmp_path):
    assert container_memory(tmp_path) == Memory()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.max_usage_in_bytes").write_text("1000\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert container_memory(tmp_path) == Memory(peak=1000)


def launch(processes, *, cuda):
    command = program_command("train", run="/s/runs/a", work=Path("/w"), processes=processes, cuda=cuda)
    return list(command.arguments), command.env


@pytest.mark.parametrize(
    ("processes", "cuda", "flag", "env"),
    [
        (1, False, "--cpu", {}),
        (1, True, None, {}),
        (4, False, "--multi_gpu", {"ACCELERATE_USE_CPU": "true"}),
        (4, True, "--multi_gpu", {}),
    ],
)
def test_how_training_is_launched(processes, cuda, flag, env):
    arguments, variables = launch(processes, cuda=cuda)
    assert [a for a in arguments if a in {"--cpu", "--multi_gpu"}] == ([flag] if flag else [])
    assert arguments[arguments.index("--num_processes") + 1] == str(processes)
    assert arguments[-6:] == ["-m", "runner.train", "--run", "/s/runs/a", "--work", "/w"]
    assert variables == env


def test_how_training_is_launched_on_one_of_several_nodes():
    machine = Machine(rank=1, count=2, address="10.1.2.3", port=4567)
    command = program_command(
        "train", run="/s/runs/a", work=Path("/w"), processes=8, cuda=False, machine=machine
    )
    flags = dict(pairwise(command.arguments))
    assert flags["--num_processes"] == "8"  # over all nodes: accelerate divides
    assert flags["--num_machines"] == "2"
    assert flags["--machine_rank"] == "1"
    assert (flags["--main_process_ip"], flags["--main_process_port"]) == ("10.1.2.3", "4567")
    assert "--multi_gpu" in command.arguments
    assert command.env["ACCELERATE_USE_CPU"] == "true"


@pytest.mark.parametrize(
    ("environ", "resolution", "settings"),
    [
        ({}, 512, {"OMP_WAIT_POLICY": "passive"}),
        ({}, 64, {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}),
        ({"OMP_NUM_THREADS": "8"}, 64, {"OMP_WAIT_POLICY": "passive"}),
        ({"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "8"}, 64, {}),
        ({"GOMP_SPINCOUNT": "0"}, 512, {}),
    ],
)
def test_threads_wait_without_spinning_unless_somebody_said_otherwise(environ, resolution, settings):
    assert thread_settings(environ, resolution) == settings


def test_a_machine_without_a_driver_has_no_cuda():
    assert not has_cuda({}) or Path("/dev/nvidiactl").exists()


def test_a_pod_leaves_the_search_for_its_gpu_to_the_program():
    built_for_cuda = "+cpu" not in version("torch")
    assert has_cuda({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}) == built_for_cuda


ARGUMENTS = ["--job", "1", "--spec-sha256", "0" * 64]


@pytest.mark.parametrize(
    ("kind", "url", "store"),
    [
        ("train", "s3://bucket/deep/runs/teddy-1a2b3c4d", "s3://bucket/deep"),
        ("infer", "/home/me/runs/runs/teddy-1a2b3c4d", "/home/me/runs"),
        ("render", "/data/runs/teddy-1a2b3c4d/renders/0f1e2d", "/data"),
    ],
)
def test_a_run_url_names_store_and_run(kind, url, store):
    options = parse_options([kind, "--run", url, *ARGUMENTS], {})
    assert (options.store_url, options.layout.run_id) == (store, "teddy-1a2b3c4d")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--run", "teddy-1a2b3c4d", *ARGUMENTS],
        ["train", "--run", "/data/runs/teddy-1a2b3c4d/renders/0f1e2d", *ARGUMENTS],
        ["render", "--run", "/data/runs/teddy-1a2b3c4d", *ARGUMENTS],
        ["paint", "--run", "/data/runs/teddy-1a2b3c4d", *ARGUMENTS],
        ["train", "--run", "/data/runs/teddy-1a2b3c4d"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(Usage):
        parse_options(arguments, {})


def test_the_surroundings_say_where_the_store_is_and_how_much_time_there_is():
    environ = {
        "DREAMBOOTH_STORE_ENDPOINT": "https://minio:9000",
        "DREAMBOOTH_STORE_REGION": "eu",
        "DREAMBOOTH_STORE_SECRET_DIR": "/var/secret",
        "DREAMBOOTH_GRACE_S": "15",
        "JOB_COMPLETION_INDEX": "3",
    }
    options = parse_options(["render", "--run", "s3://b/runs/a/renders/b", *ARGUMENTS], environ)
    assert (options.endpoint, options.region) == ("https://minio:9000", "eu")
    assert options.secret_dir == Path("/var/secret")
    assert options.limits.grace_s == 15
    assert options.shard == 3
