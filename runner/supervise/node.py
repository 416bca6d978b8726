"""Which node of a Job this is, and what another node's end means for it. Pure."""

from dataclasses import dataclass

from runner.errors import Fenced, InvalidSpec, Stopped
from runner.runs.documents import ExitRecord, JobClaim
from runner.runs.outcome import PERMANENT
from runner.spec.frozen import FrozenSpec
from runner.supervise.options import Options

GO_ON = "Submit again to continue from the newest checkpoint."


@dataclass(frozen=True)
class Node:
    """This node among those of its Job.

    Attributes:
        index: completion index; 0 leads.
        count: nodes of the Job, at least 2.
        host: where index 0 is, by the name that the others know it by.
        port: where it listens for them.
    """

    index: int
    count: int
    host: str
    port: int

    @property
    def leads(self) -> bool:
        """Whether this is index 0: it owns, decides and commits."""
        return self.index == 0


def node_of(options: Options, spec: FrozenSpec, claim: JobClaim) -> Node | None:
    """This node of a train Job; None when the Job has but one.

    Raises:
        runner.errors.InvalidSpec: the Job's pods, its claim and the run's plan do not fit together.
    """
    if options.kind == "render":
        return None
    count = claim.resources.nodes if options.kind == "train" else 1
    if count == 1 and claim.executor == "local":
        return None  # whoever started it may be a pod of some other Job, with an index of its own
    if (options.index or 0) >= count:
        message = f"this is pod {options.index} of a Job whose claim knows {count}"
        raise InvalidSpec(message, "Set the Job's completions to resources.nodes.")
    if count == 1:
        return None
    if options.index is None or options.rendezvous is None:
        message = f"resources.nodes is {count}, and nothing says which of them this is or where they meet"
        remedy = "Several nodes train in an Indexed Job with DREAMBOOTH_RENDEZVOUS: executor: kubernetes."
        raise InvalidSpec(message, remedy)
    _require_plan(spec, claim)
    return Node(options.index, count, *options.rendezvous)


def _require_plan(spec: FrozenSpec, claim: JobClaim) -> None:
    gpus, nodes = claim.resources.gpus, claim.resources.nodes
    if gpus * nodes != spec.world_size:
        message = f"resources.gpus × resources.nodes is {gpus} × {nodes}, the run is for {spec.world_size} processes"
        raise InvalidSpec(message, "Keep their product: it is part of what determines the weights.")


@dataclass(frozen=True)
class Loss:
    """Another node has left.

    Attributes:
        index: which one.
        record: its last word; None when it had no time for one.
    """

    index: int
    record: ExitRecord | None = None

    @property
    def explains(self) -> bool:
        """Whether it says more than that somebody told everybody to stop."""
        return self.record is None or self.record.code not in {0, Stopped.container_code}

    @property
    def sentence(self) -> str:
        """What happened."""
        if self.record is None:
            return f"node {self.index} is gone"
        cause = self.record.cause or "it did not say why"
        return f"node {self.index} ended with {self.record.code}: {cause}"

    @property
    def is_final(self) -> bool:
        """Whether it ends the whole Job: starting together again would not help."""
        return self.outcome.code != Stopped.container_code

    @property
    def outcome(self) -> ExitRecord:
        """How this node ends for it.

        What would happen again, and being fenced, ends the whole Job, whichever pod the cluster hears first;
        anything else is a reason to start together again.
        """
        if self.record is not None and self.record.code in {*PERMANENT, Fenced.container_code}:
            return ExitRecord(code=self.record.code, cause=self.sentence, remedy=self.record.remedy)
        return ExitRecord(code=Stopped.container_code, cause=self.sentence, remedy=GO_ON)
