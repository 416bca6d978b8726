"""Jobs that the executor at hand does not know, judged by their claim and their heartbeat."""

import socket
import time
from dataclasses import dataclass, field

from runner.errors import NotFound
from runner.runs.claims import read_claim
from runner.runs.documents import JobClaim
from runner.runs.facts import RunFacts
from runner.runs.heartbeat import Stillness
from runner.runs.jobs import JobFact, local_job_fact
from runner.runs.layout import JobKind, RunLayout
from runner.services.places import Place


@dataclass(slots=True)
class Elsewhere:
    """What the store tells of Jobs of other machines.

    Attributes:
        place: where the run lives.
    """

    place: Place
    _still: Stillness = field(default_factory=Stillness)
    _first_seen: dict[tuple[JobKind, int], float] = field(default_factory=dict)

    def claim(self, facts: RunFacts, kind: JobKind, k: int) -> JobClaim | None:
        """The claim of a Job; None when nobody claimed it."""
        known = facts.documents.get(kind)
        if known is not None and known.k == k:
            return known
        try:
            return read_claim(self.place.store, RunLayout(facts.run_id), kind, k)
        except NotFound:
            return None

    def fact(self, facts: RunFacts, claim: JobClaim) -> JobFact | None:
        """What claim and heartbeat say of a Job; None when it was claimed on this machine and never created."""
        kind, k = claim.kind, claim.k
        here = claim.local is not None and claim.local.host == socket.gethostname()
        if here and not facts.attempts_of(kind, k):
            return None  # whoever comes creates it
        now = time.monotonic()
        return local_job_fact(
            facts,
            claim,
            host="",  # its process cannot be seen from here, so its heartbeat tells
            process_alive=lambda _: False,
            waited_s=now - self._first_seen.setdefault((kind, k), now),
            still_s=self.still_s(facts, kind, k),
        )

    def still_s(self, facts: RunFacts, kind: JobKind, k: int) -> float:
        """Seconds for which a Job's heartbeat has stood still on this machine's clock."""
        beat = facts.statuses.get(kind)
        return self._still.seconds(f"{kind}-{k}", beat and beat.beat)
