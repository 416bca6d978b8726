"""A run's page, as a file of this machine."""

from pathlib import Path

from runner.errors import NotFound
from runner.services.fetch import fetch_output
from runner.services.open_run import OpenRun
from runner.services.result import REPORT, read_result


def page_file(run: OpenRun, directory: Path | None = None) -> Path:
    """Where the page lies; one in a bucket is downloaded.

    Args:
        run: the run.
        directory: where a downloaded page goes; `./<run id>` when None.

    Raises:
        runner.errors.NotFound: the run has no page yet.
    """
    result = read_result(run.place, run.run_id)
    if result.page is None:
        raise NotFound(
            f"run {run.run_id} is {result.state} and has no page yet",
            f"See where it stands: runner status {run.run_id}",
        )
    if "://" not in result.page and directory is None:
        return Path(result.page)
    target = directory or Path(run.run_id)
    fetch_output(run, target, [REPORT], force=True)
    return target / REPORT
