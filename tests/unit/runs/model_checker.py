"""A small model checker: real code of `runner.runs`, in every interleaving of its store operations.

An actor is a function that does one phase of its work through a store and a cluster, and returns what it remembers
for the next. It runs on recorded results: when they are used up, it is stopped at the operation that it asks for
next (`Suspend`). So an actor's position is the tuple of results it has seen, a node of a tree; the real code runs
once per node, and a state of the world is the store, the Jobs and one node per actor. All states are visited, each
once. Two reductions keep that small, and hide no behaviour that matters here:

- data below an attempt's own folder is written together with the attempt's next operation: nobody reads it before
  a manifest names it;
- with `coarse`, the reads that follow a write happen at once with it: a stale look is still there, since any
  number of other actors may move between the last read and the next write.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.errors import NotFound
from runner.runs.jobs import JobFact
from runner.storage.store import ObjectInfo

WRITES = {"put", "put_if_absent", "delete", "create", "delete_job"}
AGAIN, EXIT = "again", "exit"


class Suspend(BaseException):
    """The actor wants an operation whose result is not known yet."""

    def __init__(self, operation: tuple):
        super().__init__(operation)
        self.operation = operation


class Broken(AssertionError):
    """An invariant does not hold; the message is the way there."""


class Tape:
    """Results seen so far; the store and the cluster of one actor read from it."""

    def __init__(self, results: tuple, live: Callable[[tuple, tuple], Any] | None):
        self.results = results
        self.position = 0
        self.effects: list[tuple[str, bytes]] = []
        self._live = live

    def ask(self, *operation: Any) -> Any:
        if self.position < len(self.results):
            result = self.results[self.position]
            self.position += 1
        elif self._live is not None and operation[0] not in WRITES:
            result = self._live(operation, tuple(self.effects))
        else:
            raise Suspend(operation)
        self.effects.clear()
        if isinstance(result, NotFound):
            raise result
        return result


class TapeStore:
    """An `ObjectStore` whose every operation is a moment at which others may move."""

    url = "memory://model"

    def __init__(self, tape: Tape):
        self._tape = tape

    def get(self, key: str) -> bytes:
        return self._tape.ask("get", key)

    def size(self, key: str) -> int | None:
        return self._tape.ask("size", key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return iter(self._tape.ask("list", prefix))

    def put(self, key: str, data: bytes) -> None:
        if key.endswith(("/status.json", "/env.json", "/exit.json")):
            self._tape.effects.append((key, data))  # in the attempt's own folder
        else:
            self._tape.ask("put", key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self._tape.ask("put_if_absent", key, data)

    def delete(self, key: str) -> None:
        self._tape.ask("delete", key)

    def upload(self, key: str, path: Path, _progress=None) -> None:
        self._tape.effects.append((key, path.read_bytes()))


class TapeJobs:
    """The `Jobs` of one actor."""

    def __init__(self, tape: Tape):
        self._tape = tape

    def facts(self, _facts, wanted):
        return dict(self._tape.ask("facts", tuple(wanted)))

    def create(self, claim):
        self._tape.ask("create", claim.kind, claim.k)

    def delete(self, kind, k):
        self._tape.ask("delete_job", kind, k)


Phase = Callable[[Any, TapeStore, TapeJobs], tuple]
"""memory, store, jobs -> (AGAIN, memory) or (EXIT, code)."""


@dataclass
class Node:
    """Where an actor stands: the operation it wants next, or how its phase ended."""

    actor: str
    memory: Any
    results: tuple
    operation: tuple | None = None
    effects: tuple = ()
    ending: tuple | None = None
    children: dict[Any, int] = field(default_factory=dict)


class Actors:
    """All positions of all actors that were ever reached."""

    def __init__(self, programs: dict[str, Phase]):
        self._programs = programs
        self.nodes: list[Node] = []
        self._roots: dict[tuple, int] = {}

    def root(self, actor: str, memory: Any) -> int:
        key = (actor, memory)
        if key not in self._roots:
            self._roots[key] = self._add(Node(actor, memory, ()))
            self._run(self._roots[key], None)
        return self._roots[key]

    def after(self, position: int, result: Any, look: Callable[[tuple, tuple], Any] | None) -> int:
        """The position after the operation gave this result.

        Args:
            position: before it.
            result: what it gave.
            look: with `coarse`, does the reads that follow, so that the code runs once for all of them.
        """
        node = self.nodes[position]
        if _plain(result) not in node.children:
            self._run(self._child(position, result), look)
        return node.children[_plain(result)]

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _child(self, position: int, result: Any) -> int:
        node = self.nodes[position]
        child = self._add(Node(node.actor, node.memory, (*node.results, result)))
        node.children[_plain(result)] = child
        return child

    def _run(self, position: int, look: Callable[[tuple, tuple], Any] | None) -> None:
        """Run the real code from its beginning on what it saw, to the operation whose result is not known."""

        def read(operation: tuple, effects: tuple) -> Any:
            nonlocal position
            self.nodes[position].operation, self.nodes[position].effects = operation, effects
            result = look(operation, effects)
            known = self.nodes[position].children.get(_plain(result))
            position = self._child(position, result) if known is None else known
            return result

        start = self.nodes[position]
        tape = Tape(start.results, read if look else None)
        operation = ending = None
        try:
            program = self._programs[start.actor.partition("#")[0]]
            ending = program((start.actor, start.memory), TapeStore(tape), TapeJobs(tape))
        except Suspend as wish:
            operation = wish.operation
        node = self.nodes[position]
        node.operation, node.ending, node.effects = operation, ending, tuple(tape.effects)


def _plain(result: Any) -> Any:
    return ("missing",) if isinstance(result, NotFound) else result


@dataclass(frozen=True)
class World:
    """One state of everything.

    Attributes:
        objects: the store.
        sign: a hash of it, kept up to date.
        jobs: (kind, k) -> (status, exit code, number of pods so far); status alive, lost, complete, failed.
        actors: name -> position, sorted.
        faults: how many may still happen.
        late: writes of attempts after another took over, by attempt.
    """

    objects: dict[str, bytes]
    sign: int
    jobs: tuple
    actors: tuple[tuple[str, int], ...]
    faults: int
    late: tuple = ()

    @property
    def key(self) -> tuple:
        # Submitters are alike: which of them stands where makes no difference.
        actors = tuple(sorted((name.partition("~")[0], position) for name, position in self.actors))
        return (self.sign, self.jobs, actors, self.faults, self.late)

    def write(self, key: str, data: bytes | None) -> "World":
        objects, sign = dict(self.objects), self.sign
        if key in objects:
            sign ^= hash((key, objects.pop(key)))
        if data is not None:
            objects[key] = data
            sign ^= hash((key, data))
        return World(objects, sign, self.jobs, self.actors, self.faults, self.late)

    def job(self, kind: str, k: int) -> tuple | None:
        return dict(self.jobs).get((kind, k))

    def with_job(self, kind: str, k: int, value: tuple | None) -> "World":
        jobs = dict(self.jobs) | {(kind, k): value}
        kept = tuple(sorted((key, v) for key, v in jobs.items() if v is not None))
        return World(self.objects, self.sign, kept, self.actors, self.faults, self.late)

    def with_actor(self, name: str, position: int | None) -> "World":
        actors = dict(self.actors) | {name: position}
        kept = tuple(sorted((n, p) for n, p in actors.items() if p is not None))
        return World(self.objects, self.sign, self.jobs, kept, self.faults, self.late)


class Checker:
    """Visits every state of a world.

    Args:
        programs: what each actor does, by the name before `#`.
        invariant: called with (world before, operation or fault, actor, world after); raises `Broken`.
        goal: where the run has ended well.
        visible: which keys a listing of the whole run shows to those who decide: what they never look at would
            only multiply states.
        coarse: see the module.
        superseded: whether the actor at this position is an attempt that another took over from.
        over: when those who decide have nothing left to do; attempts still go on to their end.
        killable: names of actors that faults may hit.
    """

    def __init__(
        self,
        programs: dict[str, Phase],
        *,
        invariant: Callable[[World, tuple, str, World], None],
        goal: Callable[[World], bool],
        visible: Callable[[str], bool],
        superseded: Callable[[World, Node], bool],
        coarse: bool,
        over: Callable[[World], bool],
        killable: tuple[str, ...] = (),
    ):
        self.actors = Actors(programs)
        self.invariant, self.goal, self.visible, self.superseded = invariant, goal, visible, superseded
        self.coarse, self.over, self.killable = coarse, over, killable
        self.came_from: list[tuple[int, str] | None] = []
        self.fair_steps: list[list[int]] = []
        self.goals: list[int] = []

    def start(self, objects: dict[str, bytes], actors: dict[str, Any], faults: int, jobs=()) -> World:
        world = World({}, 0, tuple(jobs), (), faults)
        for key, data in objects.items():
            world = world.write(key, data)
        for name, memory in actors.items():
            world = world.with_actor(name, self.actors.root(name.partition("~")[0], memory))
        return world

    def run(self, start: World) -> int:
        """Visit everything reachable; the number of states.

        Raises:
            Broken: an invariant fails, or a state has no fair way to the goal.
        """
        seen, stack = {start.key: 0}, [(0, start)]
        self._note(start, None)
        while stack:
            number, world = stack.pop()
            for label, fair, after in self._explained(number, world):
                index = seen.get(after.key)
                if index is None:
                    index = seen[after.key] = len(seen)
                    self._note(after, (number, label))
                    stack.append((index, after))
                if fair:
                    self.fair_steps[number].append(index)
        self._refuse_stuck()
        return len(seen)

    def _explained(self, number: int, world: World) -> list[tuple[str, bool, World]]:
        try:
            return list(self._moves(world))
        except Broken as broken:
            raise Broken(f"{broken}; after:\n{self.way_to(number)}") from None

    def _note(self, world: World, origin: tuple[int, str] | None) -> None:
        self.came_from.append(origin)
        self.fair_steps.append([])
        if self.goal(world):
            self.goals.append(len(self.came_from) - 1)

    def _refuse_stuck(self) -> None:
        back: list[list[int]] = [[] for _ in self.fair_steps]
        for number, targets in enumerate(self.fair_steps):
            for target in targets:
                back[target].append(number)
        good, stack = set(self.goals), list(self.goals)
        while stack:
            for number in back[stack.pop()]:
                if number not in good:
                    good.add(number)
                    stack.append(number)
        stuck = next((n for n in range(len(back)) if n not in good), None)
        if stuck is not None:
            raise Broken(f"stuck after:\n{self.way_to(stuck)}")

    def way_to(self, number: int) -> str:
        lines = []
        while (origin := self.came_from[number]) is not None:
            number, label = origin
            lines.append(label)
        return "\n".join(f"  {line}" for line in reversed(lines))

    # --- what may happen next

    def _moves(self, world: World) -> Iterator[tuple[str, bool, World]]:
        over = self.over(world)
        for name, _position in world.actors:
            if "#" in name or not over:
                label, after = self._step(world, name)
                yield label, True, after
        if world.faults and not over:
            fewer = replace(world, faults=world.faults - 1)
            for label, after in self._faults(fewer):
                self.invariant(world, ("fault", label), "", after)
                yield label, False, after

    def _step(self, world: World, name: str) -> tuple[str, World]:
        """One operation of an actor; with `coarse` also the reads after it, and a phase's end at once."""
        labels: list[str] = []
        while True:
            node = self.actors.nodes[dict(world.actors)[name]]
            if node.operation is not None:
                if labels and (not self.coarse or node.operation[0] in WRITES):
                    break
                labels.append(f"{name}: {' '.join(map(str, node.operation[:3]))[:90]}")
                world = self._apply(world, name, node)
                continue
            world = self._end_phase(world, name, node)
            if name not in dict(world.actors) or labels:
                break
        return "; ".join(labels) or f"{name}: ends", world

    def _apply(self, world: World, name: str, node: Node) -> World:
        after = world
        for key, data in node.effects:
            after = after.write(key, data)
        after, result = self._operate(after, node.operation)
        if node.operation[0] in WRITES and self.superseded(world, node):
            after = replace(after, late=tuple(sorted((*after.late, name))))
        self.invariant(world, node.operation, name, after)
        look = self._look(after) if self.coarse else None
        return after.with_actor(name, self.actors.after(dict(world.actors)[name], result, look))

    def _look(self, world: World) -> Callable[[tuple, tuple], Any]:
        def read(operation: tuple, effects: tuple) -> Any:
            nonlocal world
            for key, data in effects:
                world = world.write(key, data)
            return self._operate(world, operation)[1]

        return read

    def _end_phase(self, world: World, name: str, node: Node) -> World:
        for key, data in node.effects:
            world = world.write(key, data)
        verb, value = node.ending
        if verb == AGAIN:
            return world.with_actor(name, self.actors.root(node.actor, value))
        return self._pod_ended(world.with_actor(name, None), name, value)

    def _operate(self, world: World, operation: tuple) -> tuple[World, Any]:
        verb, *args = operation
        return getattr(self, f"_do_{verb}")(world, *args)

    def _do_get(self, world: World, key: str) -> tuple[World, Any]:
        return world, world.objects.get(key, NotFound(f"no {key}"))

    def _do_size(self, world: World, key: str) -> tuple[World, int | None]:
        return world, len(world.objects[key]) if key in world.objects else None

    def _do_list(self, world: World, prefix: str) -> tuple[World, tuple[ObjectInfo, ...]]:
        return world, self._list(world, prefix)

    def _do_put(self, world: World, key: str, data: bytes) -> tuple[World, None]:
        return world.write(key, data), None

    def _do_put_if_absent(self, world: World, key: str, data: bytes) -> tuple[World, bool]:
        return (world, False) if key in world.objects else (world.write(key, data), True)

    def _do_delete(self, world: World, key: str) -> tuple[World, None]:
        return world.write(key, None), None

    def _do_facts(self, world: World, pairs: tuple) -> tuple[World, tuple]:
        return world, tuple((pair, self._fact(world, pair)) for pair in pairs if world.job(*pair))

    def _do_create(self, world: World, kind: str, k: int) -> tuple[World, None]:
        return self._create(world, kind, k), None

    def _do_delete_job(self, world: World, kind: str, k: int) -> tuple[World, None]:
        return self._delete_job(world, kind, k), None

    def _list(self, world: World, prefix: str) -> tuple[ObjectInfo, ...]:
        whole = prefix.count("/") == 2  # the run's folder
        keys = sorted(k for k in world.objects if k.startswith(prefix) and (not whole or self.visible(k)))
        return tuple(ObjectInfo(key, len(world.objects[key]), 0.0) for key in keys)

    # --- the cluster

    def _fact(self, world: World, pair: tuple[str, int]) -> JobFact:
        status, code, _pods = world.job(*pair)
        if status in {"alive", "lost"}:
            return JobFact(*pair, lost=status == "lost")
        return JobFact(*pair, alive=False, terminal=status, exit_code=code)

    def _create(self, world: World, kind: str, k: int) -> World:
        """A name that exists is adopted; the Job starts its first pod."""
        return (
            world
            if world.job(kind, k)
            else self._start_pod(world.with_job(kind, k, ("alive", None, 0)), kind, k)
        )

    def _start_pod(self, world: World, kind: str, k: int) -> World:
        pods = sum(1 for name, _ in world.actors if name.startswith(f"{kind}#{k}#"))
        status, code, count = world.job(kind, k)
        count = max(count, pods) + 1
        name = f"{kind}#{k}#{count}"
        while name in dict(world.actors):
            count += 1
            name = f"{kind}#{k}#{count}"
        world = world.with_job(kind, k, (status, code, count))
        return world.with_actor(name, self.actors.root(name, "start"))

    def _pod_ended(self, world: World, name: str, code: int | None) -> World:
        """Only the end of a Job's newest pod ends the Job; 75 brings a new pod."""
        kind, k, number = (*name.split("#"), "", "")[:3]
        job = world.job(kind, int(k)) if k else None
        if job is None or job[0] != "alive" or job[2] != int(number):
            return world
        if code == 75:
            return self._start_pod(world, kind, int(k))
        status = "failed" if code else "complete"
        return world.with_job(kind, int(k), (status, code, job[2]))

    def _delete_job(self, world: World, kind: str, k: int) -> World:
        """The Job is gone; what its pods do from now on is nobody's business, so they may go on for a while."""
        return world.with_job(kind, k, None)

    def _faults(self, world: World) -> Iterator[tuple[str, World]]:
        for name, _position in world.actors:
            program = name.partition("#")[0].partition("~")[0]
            if program not in self.killable:
                continue
            dead = world.with_actor(name, None)
            kind, k, number = (*name.split("#"), "", "")[:3]
            job = world.job(kind, int(k)) if k else None
            if not k:
                yield f"{name} is killed", dead
            elif job is not None and job[0] == "alive" and job[2] == int(number):
                yield f"{name} is killed, Job failed", dead.with_job(kind, int(k), ("failed", 137, job[2]))
                yield f"{name} is killed, a new pod starts", self._start_pod(dead, kind, int(k))
                yield f"{name} is killed, Job gone", dead.with_job(kind, int(k), None)
                yield f"{name} stalls, Job lost", world.with_job(kind, int(k), ("lost", None, job[2]))
                yield f"{name} stalls, a new pod starts", self._start_pod(world, kind, int(k))
            else:
                yield f"{name} is killed", dead
