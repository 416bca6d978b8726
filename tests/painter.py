"""An executor whose jobs draw in this process, one picture each time they are let: no torch, no waiting."""

from collections.abc import Iterator

from runner.executors.executor import Created, Job, LogLine
from runner.runs.documents import ExitRecord, JobClaim, Status
from runner.runs.jobs import JobFact
from runner.runs.layout import RunLayout
from runner.runs.render_facts import shard_attempt
from runner.runs.renders import RenderPlan
from runner.storage import open_store
from runner.supervise.options import Options, parse_options


class Painter:
    """Draws render shards as `runner.supervise render` does, in the store that each job's command line names.

    Args:
        failing: exit code and cause by shard: such a shard ends before its first picture.
    """

    def __init__(self, failing: dict[int, tuple[int, str]] | None = None) -> None:
        self.failing = failing or {}
        self.created: list[str] = []
        self.drawn: list[str] = []
        self._jobs: dict[str, tuple[Job, JobFact]] = {}

    def create(self, job: Job) -> Created:
        if job.name in self._jobs:
            same = self._jobs[job.name][0].run_digest == job.run_digest
            return "adopted" if same else "conflict"
        self._jobs[job.name] = (job, JobFact("render", job.k, phase="running"))
        self.created.append(job.name)
        return "created"

    def jobs(self, run_id: str) -> list[JobFact]:
        return [fact for job, fact in self._jobs.values() if job.run_id == run_id]

    def watch(self, name: str) -> Iterator[JobFact]:
        if name in self._jobs:
            yield self._jobs[name][1]

    def logs(self, name: str, since: str | None = None, *, follow: bool = False) -> Iterator[LogLine]:  # noqa: ARG002 - as Executor says
        yield LogLine("1", f"the last words of {name}")

    def stop(self, name: str, grace_s: float) -> None:  # noqa: ARG002 - as Executor says
        if name in self._jobs and self._jobs[name][1].alive:
            self._end(name, 75, "told to stop")

    def delete(self, name: str) -> None:
        self._jobs.pop(name, None)

    def kill(self, name: str) -> None:
        """As `kill -9` of all its processes: nothing more is written."""
        self._ended(name, 137, "its processes were killed")

    def work(self, _seconds: float = 0.0) -> None:
        """Every job that is alive draws one picture, or ends."""
        for name in [name for name, (_, fact) in self._jobs.items() if fact.alive]:
            self._step(name)

    def _step(self, name: str) -> None:
        options = parse_options(self._jobs[name][0].command[3:], {})
        store, plan, claim = self._read(options)
        layout, shard = options.render, options.shard or 0
        if shard in self.failing:
            return self._end(name, *self.failing[shard])
        wishes = [int(i.key.rpartition("/")[2].partition(".")[0]) for i in store.list(layout.cancels)]
        if max(wishes, default=0) > claim.cancel_seen:
            return self._end(name, 73, "it was cancelled")
        missing = [item for item in plan.shard(shard) if store.size(layout.item(item.name)) is None]
        if not missing:
            self._finish(store, layout, plan)
            return self._end(name, 0, "")
        assert store.put_if_absent(layout.item(missing[0].name), missing[0].prompt.prompt.encode())
        self.drawn.append(missing[0].name)
        status = Status(phase="drawing", step=1, max_steps=len(missing), it_s=2.0)
        store.put(layout.attempt(self._attempt(options)).status, status.to_bytes())
        return None

    def _finish(self, store, layout, plan) -> None:
        if all(store.size(layout.item(item.name)) is not None for item in plan.items()):
            store.put_if_absent(layout.images, b"{}\n")
            store.put_if_absent(layout.gallery, b"<html>")

    def _end(self, name: str, code: int, cause: str) -> None:
        options = parse_options(self._jobs[name][0].command[3:], {})
        store, _, _ = self._read(options)
        record = ExitRecord(code=code, cause=cause, remedy="Mend it." if code else "")
        store.put(options.render.attempt(self._attempt(options)).exit, record.to_bytes())
        self._ended(name, code, "")

    def _ended(self, name: str, code: int, reason: str) -> None:
        job, _ = self._jobs[name]
        terminal = "failed" if code else "complete"
        fact = JobFact("render", job.k, alive=False, terminal=terminal, exit_code=code, reason=reason)
        self._jobs[name] = (job, fact)

    @staticmethod
    def _attempt(options: Options) -> str:
        return shard_attempt(options.k, options.shard or 0, "ab").text

    @staticmethod
    def _read(options: Options):
        store = open_store(options.store_url)
        assert store.size(RunLayout(options.layout.run_id).spec) is not None
        key = options.render.job_claim(options.k)
        claim = JobClaim.from_bytes(store.get(key), key)
        return store, RenderPlan.from_bytes(store.get(options.render.plan), "plan.json"), claim
