"""Why a run stands where it stands: one cause and one remedy, from whoever can still tell.

An attempt's own word comes first, then what the cluster says of the Job, then what the holder wrote down of it while it
could be seen, then what heartbeats and this machine's processes show. So there is an answer when the cluster has
forgotten the Job, and when it cannot be asked.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

from runner.errors import NotFound
from runner.executors.kubernetes.observation import Observation
from runner.executors.kubernetes.verdict import verdict
from runner.runs.causes import WELL, Cause, Verdict, cause_of
from runner.runs.documents import AttemptEnv, ExitRecord, JobClaim, Observed
from runner.runs.jobs import JobFact
from runner.runs.outcome import PERMANENT, job_outcome
from runner.runs.states import State
from runner.services.jobs import RunJobs
from runner.services.known import Known, Observer, look

Source = Literal["store", "cluster", "holder", "machine"]
"""Who tells: the run's own records, the cluster, what the holder saw of it, this machine's processes."""

_STOPPED = frozenset({73, 75})
"""Exit codes of attempts that only say that they were told to go: who told them knows more."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a run stands where it stands.

    Attributes:
        run_id: the run.
        state: one of `runner.runs.states.State`.
        job: name of the Job that it is about; empty when there is none.
        cause: one word of a closed list.
        sentence: what is wrong and where.
        remedy: what to change; empty when nothing.
        passing: it may get well by itself.
        source: who tells.
        evidence: what it rests on, in the teller's own words.
    """

    run_id: str
    state: State
    job: str
    cause: Cause
    sentence: str
    remedy: str
    passing: bool
    source: Source
    evidence: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether nothing needs to be mended."""
        return self.cause in WELL

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"evidence": list(self.evidence)}


@dataclass(frozen=True, slots=True)
class _Told:
    verdict: Verdict
    source: Source
    job: str = ""


def explain(run: RunJobs, observer: Observer | None = None) -> Explanation:
    """Name the cause; nothing is changed.

    Args:
        run: the run's Jobs.
        observer: looks at its cluster; None when it has none, or none can be asked.
    """
    return explanation(look(run, lambda: observer))


def explanation(known: Known) -> Explanation:
    """The cause, of what is known of a run."""
    told = _told(known)
    found = told.verdict
    return Explanation(
        run_id=known.run.run_id,
        state=known.state,
        job=told.job,
        cause=found.cause,
        sentence=found.sentence,
        remedy=found.remedy.replace("runner logs RUN", f"runner logs {known.run.run_id}"),
        passing=found.passing,
        source=told.source,
        evidence=(*found.evidence, *known.trouble),
    )


def _told(known: Known) -> _Told:
    if known.facts.success:
        return _Told(Verdict("complete", "the run has succeeded"), "store")
    if known.facts.newest_claim is None:
        remedy = "Submit it: the files are in the store already."
        return _Told(
            Verdict("packaged", "its inputs are stored, and no Job was asked for yet", remedy), "store"
        )
    if known.state == "cancelled":
        remedy = "Submit it again to go on from its newest checkpoint."
        return _Told(Verdict("cancelled", "somebody cancelled it", remedy), "store")
    return _unclaimed(known) if known.claim is None else _of_job(known, known.claim)


def _unclaimed(known: Known) -> _Told:
    """Training is over and nobody has claimed the inference Job: the follow Job would, if it ran."""
    k = known.facts.claims.get("follow", 0)
    name = known.job_name("follow", k)
    seen = _seen(known, name) if k else None
    if seen is not None and seen.cause not in WELL | {"complete"}:
        sentence = f"training is over, but its follow Job does not start the inference Job: {seen.sentence}"
        return _Told(replace(seen, sentence=sentence), "cluster", name)
    remedy = f"It is taken by whoever watches: runner wait {known.run.run_id}"
    return _Told(
        Verdict("starting", "training is over, and the inference Job is due", remedy, passing=True), "store"
    )


def _of_job(known: Known, claim: JobClaim) -> _Told:
    name = known.job_name(claim.kind, claim.k)
    said = known.facts.last_exit(claim.kind, claim.k)
    if said is not None and said.code in PERMANENT:
        return _Told(_by_record(said, known), "store", name)
    seen = _seen(known, name) if claim.executor == "kubernetes" else None
    if seen is not None and seen.cause != "job-deleted":
        return _Told(_with_words(seen, said, known), "cluster", name)
    if said is not None and said.code and said.code not in _STOPPED:
        return _Told(_by_record(said, known), "store", name)
    if noted := _noted(known, name):
        return _Told(noted, "holder", name)
    if seen is not None:
        return _Told(seen, "cluster", name)
    return _by_process(known, name)


def _seen(known: Known, name: str) -> Verdict | None:
    """The cluster's word; None when it could not be asked."""
    if known.observations is None:
        return None
    return verdict(known.observations.get(name, Observation(job=None)))


def _by_record(said: ExitRecord, known: Known) -> Verdict:
    """The attempt's own word; what it leaves open, its exit code tells."""
    failure = job_outcome(known.facts, known.job)
    detail = (f"exit code {said.code}", *said.detail.strip().splitlines()[-1:])
    return Verdict(cause_of(said.code, said.cause), failure.cause, failure.remedy, evidence=detail)


def _with_words(seen: Verdict, said: ExitRecord | None, known: Known) -> Verdict:
    """The cluster's verdict with what only the run knows: the attempt's last words, and its memory."""
    if seen.cause == "running":
        return replace(seen, sentence=_doing(known) or seen.sentence)
    if said is not None and said.cause and cause_of(said.code, said.cause) == seen.cause:
        return replace(seen, sentence=said.cause, remedy=said.remedy or seen.remedy)
    if seen.cause == "host-memory" and (last := _last_memory(known)):
        return replace(seen, sentence=f"{seen.sentence}; its last heartbeat said {last}")
    return seen


def _last_memory(known: Known) -> str:
    """Host memory by the last heartbeat; empty where that counts the device's."""
    status, attempts = (
        known.facts.statuses.get(known.kind),
        known.facts.attempts_of(known.kind, known.facts.k),
    )
    if status is None or not status.memory_bytes or not attempts:
        return ""
    key = known.facts.layout.attempt(attempts[-1].text).env
    try:
        env = AttemptEnv.from_bytes(known.run.place.store.get(key), key)
    except NotFound:
        return ""
    return "" if env.devices else f"{status.memory_bytes / 2**30:.1f} GiB"


def _noted(known: Known, name: str) -> Verdict | None:
    """What the holder saw of this very Job; what was well then tells nothing now."""
    key = known.facts.layout.observed
    try:
        noted = Observed.from_bytes(known.run.place.store.get(key), key)
    except NotFound:
        return None
    if name not in noted.conditions or not noted.verdict or noted.cause in WELL:
        return None
    cause = cast("Cause", noted.cause) if noted.cause in get_args(Cause) else "unknown"
    return Verdict(cause, noted.verdict, noted.remedy, noted.passing, noted.warnings[-3:])


def _by_process(known: Known, name: str) -> _Told:
    """What this machine's processes, or heartbeats from another, show."""
    job, facts = known.job, known.facts
    if job is not None and not job.alive:
        return _Told(_dead(known, job), "machine", name)
    if known.state in {"running", "publishing"}:
        return _Told(Verdict("running", _doing(known) or "it runs", passing=True), "store", name)
    if known.state == "lost":
        remedy = "Submit again to continue from the newest checkpoint."
        return _Told(Verdict("unknown", "nobody knows what became of its Job", remedy), "store", name)
    end = facts.last_exit(facts.kind, facts.k)
    if end is not None and end.code:
        return _Told(_by_record(end, known), "store", name)
    return _Told(Verdict("starting", "its Job was asked for and has not begun", passing=True), "store", name)


def _doing(known: Known) -> str:
    """What the newest heartbeat says; empty without one."""
    status = known.facts.statuses.get(known.kind)
    if status is None:
        return ""
    count = f" {status.step}/{status.max_steps}" if status.max_steps else ""
    return ": ".join(filter(None, (f"it runs ({status.phase}{count})", status.cause)))


def _dead(known: Known, job: JobFact) -> Verdict:
    """A process of this machine that is gone."""
    failure = job_outcome(known.facts, job)
    said = known.facts.last_exit(job.kind, job.k)
    words = known.run.last_words(job.kind, job.k) if said is None else ""
    code = failure.code
    cause: Cause = "killed" if said is None and code in {None, 137} else cause_of(code or 0, failure.cause)
    evidence = tuple(filter(None, (job.reason, f"its last words: {words}" if words else "")))
    return Verdict(cause, failure.cause, failure.remedy, evidence=evidence)
