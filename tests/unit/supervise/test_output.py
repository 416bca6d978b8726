"""What a program prints: lines, progress bars, secrets, the launcher's last words."""

from runner.supervise.epitaph import LauncherFilter, killed_by
from runner.supervise.lines import LONGEST_LINE, LineSplitter
from runner.supervise.scrub import MASK, scrubber, secret_values


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def split(*chunks, clock=None):
    splitter = LineSplitter(redraw_s=5, clock=clock or Clock())
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, *splitter.close()]


def test_lines_survive_being_cut_anywhere():
    text = "one\r\ntwo – drei\n\nlast"
    data = text.encode()
    for i in range(len(data)):
        assert split(data[:i], data[i:]) == ["one", "two – drei", "", "last"]


def test_a_progress_bar_passes_now_and_then_and_its_end_always():
    clock = Clock()
    splitter = LineSplitter(redraw_s=5, clock=clock)
    shown = []
    for i in range(100):
        clock.now = i / 10
        shown += splitter.feed(f"\r{i}%".encode())
    shown += splitter.feed(b"\r100%\n")
    shown += splitter.feed(b"done\n")
    assert shown[-2:] == ["100%", "done"]
    assert len(shown) == 4  # at 0 s, at 5 s, its end, and the next line


def test_bytes_that_are_no_text_do_not_end_the_log():
    assert split(b"a\xffb\n") == ["a�b"]


def test_a_line_without_an_end_does_not_fill_the_memory():
    lines = split(b"x" * (3 * LONGEST_LINE))
    assert [len(line) for line in lines] == [LONGEST_LINE] * 3


def test_secrets_of_the_environment_and_of_mounted_files_are_masked(tmp_path):
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("file/secret+value\n")
    environ = {
        "AWS_SECRET_ACCESS_KEY": "env/secret+value",
        "HF_TOKEN": "not-shaped-like-one",
        "AWS_REGION": "eu-central-1",
        "HF_TOKEN_PATH": "/var/run/token",
    }
    scrub = scrubber(secret_values(environ, tmp_path))
    line = "env/secret+value file/secret+value not-shaped-like-one eu-central-1 /var/run/token"
    assert scrub(line) == f"{MASK} {MASK} {MASK} eu-central-1 /var/run/token"


def test_what_is_shaped_like_a_token_is_masked_without_being_known():
    scrub = scrubber([])
    for secret in (
        "hf_" + "a1B2" * 9,
        "AKIA" + "Q7" * 8,
        "ghp_" + "x" * 36,
    ):
        assert scrub(f"use {secret} now") == f"use {MASK} now"
    url = "https://b.s3/k?X-Amz-Credential=abc%2Fus&X-Amz-Signature=0a1b2c&x=1"
    assert scrub(url) == f"https://b.s3/k?X-Amz-Credential={MASK}&X-Amz-Signature={MASK}&x=1"
    assert scrub("https://me:pass@host/x") == f"https://{MASK}@host/x"
    assert scrub("Authorization: Bearer abcdefgh.ijk") == f"Authorization: Bearer {MASK}"


def test_ordinary_words_are_left_alone():
    scrub = scrubber([])
    line = "step 100 of 800: loss 0.1234, see s3://bucket/runs/teddy-1a2b3c4d/ (token ids 49406)"
    assert scrub(line) == line


RANKS_OWN = """Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/x/runner/train/__main__.py", line 3, in <module>
ValueError: nothing""".splitlines()

LAUNCHERS = """Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/x/accelerate/commands/launch.py", line 1423, in <module>
    main()
subprocess.CalledProcessError: Command '['python', '-m', 'x']' died with <Signals.SIGSEGV: 11>.""".splitlines()


def test_a_ranks_traceback_is_shown_and_the_launchers_is_not():
    kept = LauncherFilter()
    shown = [line for text in ["hello", *RANKS_OWN, *LAUNCHERS] for line in kept.feed(text)]
    shown += kept.close()
    assert shown == ["hello", *RANKS_OWN]
    assert killed_by(kept.words) == 11


def test_an_agent_that_was_left_at_the_very_end_does_not_complain_to_people():
    head = "E1125 11:39:38.321000 24793 torch/distributed/elastic/agent/server/api.py:1008] "
    kept = LauncherFilter()
    lines = [
        f"{head}Error waiting on exit barrier.",
        f"{head}Traceback (most recent call last):",
        "E113 is fine",
    ]
    assert [shown for line in lines for shown in kept.feed(line)] == ["E113 is fine"]


def test_of_several_ranks_the_first_to_die_names_the_signal():
    words = """
Failures:
[1]:
  exitcode  : -15 (pid: 10609)  (SIGTERM)
Root Cause (first observed failure):
[0]:
  exitcode  : -9 (pid: 10608)  (SIGKILL)
"""
    assert killed_by(words) == 9


def test_an_exit_by_itself_names_no_signal():
    assert killed_by("CalledProcessError: Command 'x' returned non-zero exit status 65.") is None
    assert killed_by("  exitcode  : 65 (pid: 1)") is None
