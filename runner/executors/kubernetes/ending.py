"""Ending a Job, and knowing that it has ended."""

import time

from runner.errors import Conflict, Forbidden, NotFound, StoreUnreachable
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import is_over, name_of, uid_of
from runner.executors.kubernetes.outage import PATIENCE_S, Outage
from runner.executors.kubernetes.sight import Sight, await_change, look
from runner.executors.kubernetes.state import lost_at

_LOOK_AGAIN_S = 10.0


def stop_job(client: Client, name: str, grace_s: float, patience_s: float = PATIENCE_S) -> None:
    """Delete a Job that has not ended, its pods first; returns when both are gone.

    A pod's own grace holds where it is shorter than `grace_s`, and where this user may not delete pods.

    Raises:
        runner.errors.StoreUnreachable: its node does not answer: nobody knows whether the pod has ended.
    """
    sight = look(client, name)
    if sight is None or sight.over:
        return
    _delete(client, sight, foreground=True)
    if not await_gone(client, sight, grace_s, patience_s):
        _kill(client, sight)
        await_gone(client, sight, None, patience_s)


def delete_job(client: Client, name: str) -> None:
    """Delete a Job; its pods end in the background."""
    sight = look(client, name)
    if sight is not None:
        _delete(client, sight, foreground=False)


def await_gone(
    client: Client, sight: Sight, timeout_s: float | None = None, patience_s: float = PATIENCE_S
) -> bool:
    """Whether a Job that is being deleted is gone within the time.

    Raises:
        runner.errors.StoreUnreachable: its pods should have ended long ago.
    """
    deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    outage = Outage(patience_s)
    found: Sight | None = sight
    while found is not None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return False
        _check_nodes(found)
        try:
            await_change(client, found, min(left_s, _LOOK_AGAIN_S))
            found = look(client, name_of(sight.job), uid_of(sight.job))
            outage.over()
        except StoreUnreachable as error:
            outage.sit_out(error)
    return True


def _delete(client: Client, sight: Sight, *, foreground: bool) -> None:
    try:
        client.delete(
            f"jobs/{name_of(sight.job)}",
            # Without either, pods would be left behind.
            propagation="Foreground" if foreground else "Background",
            uid=uid_of(sight.job),
        )
    except (NotFound, Conflict):
        # Gone, or another Job has taken its name since.
        return


def _kill(client: Client, sight: Sight) -> None:
    """Shorten the grace of what still runs, where this user may."""
    now = look(client, name_of(sight.job), uid_of(sight.job))
    for pod in now.pods if now else ():
        if is_over(pod):
            continue
        try:
            client.delete(f"pods/{name_of(pod)}", propagation="Background", grace_s=1, uid=uid_of(pod))
        except Forbidden:
            return
        except (NotFound, Conflict):
            continue


def _check_nodes(sight: Sight) -> None:
    end = lost_at(sight.pods)
    if end is None or end > sight.now:
        return
    names = ", ".join(name_of(pod) for pod in sight.pods if not is_over(pod))
    nodes = {str((pod.get("spec") or {}).get("nodeName")) for pod in sight.pods if not is_over(pod)}
    message = (
        f"the Job {name_of(sight.job)} is deleted, but the node {', '.join(sorted(nodes))} does not answer"
    )
    remedy = f"Wait for the node, or once it is surely off: kubectl delete pod --force {names}"
    raise StoreUnreachable(message, remedy)
