"""Finished files on their way to the supervisor."""

import time
import uuid
from collections.abc import Mapping

from runner.diffusion.job import Job
from runner.runs.handover import ItemsRequest
from runner.storage.files import explained

PENDING_REQUESTS = 16
"""Requests that may wait for the supervisor before drawing does."""

_POLL_S = 0.05


def hand_over(job: Job, files: Mapping[str, bytes]) -> None:
    """Post files of a render under their names; waits while the supervisor is far behind.

    Raises:
        DiskFull: a write failed.
        Stopped: while waiting; what was posted is complete.
    """
    directory = job.scratch / "items" / uuid.uuid4().hex
    with explained(str(directory)):
        directory.mkdir(parents=True)
        for name, data in files.items():
            (directory / name).write_bytes(data)
    job.handover.post(ItemsRequest(directory=directory, items={name: name for name in files}))
    wait_until_taken(job, PENDING_REQUESTS)


def wait_until_taken(job: Job, left: int) -> None:
    """Wait until at most `left` requests are with the supervisor.

    Raises:
        Stopped: the program was told to stop.
    """
    while job.handover.pending() > left:
        job.stop.raise_if_set()
        time.sleep(_POLL_S)
