"""Claim the next Job of a failed run, whatever the failure was."""

from runner.errors import Conflict
from runner.runs.advance import observe
from runner.runs.restart import forget_training
from runner.services.follow import Watch
from runner.services.open_run import OpenRun
from runner.services.start import begin, watch
from runner.spec.installing import installed


def retry_run(run: OpenRun, *, restart: bool = False) -> Watch:
    """A watch that begins with a new Job; of a run that had a follow Job, it has begun and has one again.

    Args:
        run: the run.
        restart: delete its checkpoints and resolved choices first, so that training begins anew.

    Raises:
        runner.errors.Conflict: a Job is alive, or the run has succeeded, or (restart) training is over.
    """
    snapshot = observe(run.place.store, run.run_id, run.jobs)
    if snapshot.facts.success:
        raise Conflict(f"run {run.run_id} has succeeded", f"See its page: runner report {run.run_id}")
    if restart:
        forget_training(run.place.store, snapshot)
    claim = snapshot.facts.newest_claim
    local = claim is not None and claim.executor == "local"
    # What was installed since the last Job is what this one runs with.
    proposal = claim.model_copy(update={"packages": installed()}) if claim and local else None
    retried = watch(run.jobs, intent="retry", proposal=proposal)
    if "follow" in snapshot.facts.claims:
        begin(retried, follower=True)
    return retried
