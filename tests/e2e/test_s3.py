"""The same spec over a bucket gives the same files."""

import pytest

from tests.e2e.laptop import laptop, published

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_bucket_gives_the_files_that_a_directory_gives(machine, inputs, finished, bucket):
    spec = inputs.spec(store={"url": f"{bucket.url}/runs", "endpoint": bucket.endpoint})
    machine.write("run.yaml", spec)
    ended = machine.run("submit", "run.yaml", "-o", "json", env=bucket.env)
    assert ended.json["run_id"] == finished.run_id
    assert ended.json["url"] == f"{bucket.url}/runs/runs/{finished.run_id}"
    assert bucket.env["AWS_SECRET_ACCESS_KEY"] not in ended.err

    # The store is remembered without its credentials; the page of a bucket's run comes here to be looked at.
    machine.run("fetch", "tiny", "--to", "files", env=bucket.env)
    assert published(machine.desk / "files") == published(finished.output)
    page = machine.run("report", "tiny", "-o", "name", "--to", "page", env=bucket.env).out.strip()
    assert (machine.desk / page).read_bytes() == (finished.output / "report.html").read_bytes()
    for path in machine.home.joinpath("config").rglob("*"):
        assert path.is_dir() or bucket.env["AWS_SECRET_ACCESS_KEY"] not in path.read_text()

    # Another machine that knows only the URL.
    with laptop(machine.home / "other") as other:
        env = bucket.env | {"DREAMBOOTH_STORE_ENDPOINT": bucket.endpoint}
        assert other.run("status", ended.json["url"], "-o", "name", env=env).out == "succeeded\n"
        again = machine.run("submit", "run.yaml", "-o", "json", env=bucket.env)
        assert again.json == ended.json
