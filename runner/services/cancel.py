"""Stop a run: it makes a checkpoint, and a later submit goes on from it."""

import time

from runner.errors import Cancelled, Conflict, RunFailed
from runner.runs.cancel import wish
from runner.runs.render_facts import read_render
from runner.services.drawing import Drawing
from runner.services.open_run import OpenRun
from runner.services.render import Render
from runner.services.result import read_result
from runner.services.start import watch

OVER = frozenset({"succeeded", "failed", "cancelled"})


def cancel_run(run: OpenRun, reason: str = "") -> None:
    """Ask the run's Jobs to leave, wherever they are, and wait until they have.

    Raises:
        runner.errors.Conflict: the run is over already.
    """
    state = read_result(run.place, run.run_id).state
    if state in OVER:
        message = f"run {run.run_id} is over ({state}): there is nothing to cancel"
        raise Conflict(message, f"See what became of it: runner status {run.run_id}")
    wish(run.place.store, run.layout, now=time.time(), reason=reason)
    run.jobs.call_off()
    try:
        for _ in watch(run.jobs).events():
            pass
    except (Cancelled, RunFailed):
        return


def cancel_render(render: Render, reason: str = "") -> None:
    """Ask a render's shards to leave, wherever they are, and wait until those of this machine have.

    Raises:
        runner.errors.Conflict: it is drawn, or was never begun.
    """
    store, layout = render.run.place.store, render.layout
    facts = read_render(store, layout, render.plan)
    if facts.finished or facts.k == 0:
        state = "is drawn" if facts.finished else "was never begun"
        raise Conflict(f"render {render.render_id} {state}; there is nothing to cancel", "")
    wish(store, layout, now=time.time(), reason=reason)
    try:
        for _ in Drawing(render, intent="hold").statuses():
            pass
    except Cancelled:
        return
