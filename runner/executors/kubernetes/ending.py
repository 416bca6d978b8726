"""Ending a Job, and knowing that it has ended."""

from runner.errors import Conflict, Forbidden, NotFound, StoreUnreachable
from runner.executors.kubernetes.client import Client
from runner.executors.kubernetes.documents import is_over, name_of, uid_of
from runner.executors.kubernetes.outage import PATIENCE_S, Outage
from runner.executors.kubernetes.sight import Sight, await_change, look
from runner.executors.kubernetes.state import lost_at

_LOOK_AGAIN_S = 10.0


def stop_job(client: Client, name: str, grace_s: float, patience_s: float = PATIENCE_S) -> None:
    """Delete a Job that has not ended, its pods first; returns when all are gone.

    A pod's own grace holds where it is shorter than `grace_s`, and where this user may not delete pods.

    Raises:
        runner.errors.StoreUnreachable: its node does not answer: nobody knows whether the pod has ended.
    """
    sight = look(client, name)
    if sight is None or sight.over:
        return
    # Before the Job: a node that has begun to end a pod does not end it sooner when told so afterwards.
    _shorten(client, sight, grace_s)
    _delete(client, sight, foreground=True)
    await_gone(client, sight, patience_s)


def delete_job(client: Client, name: str, *, foreground: bool = False) -> None:
    """Delete a Job; its pods end in the background, or before it."""
    sight = look(client, name)
    if sight is not None:
        _delete(client, sight, foreground=foreground)


def await_gone(client: Client, sight: Sight, patience_s: float = PATIENCE_S) -> None:
    """Wait until a Job that is being deleted is gone.

    Raises:
        runner.errors.StoreUnreachable: its pods should have ended long ago.
    """
    outage = Outage(patience_s)
    found: Sight | None = sight
    while found is not None:
        _check_nodes(found)
        try:
            await_change(client, found, _LOOK_AGAIN_S)
            found = look(client, name_of(sight.job), uid_of(sight.job))
            outage.over()
        except StoreUnreachable as error:
            outage.sit_out(error)


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


def _shorten(client: Client, sight: Sight, grace_s: float) -> None:
    """Give the pods less time than their own, where this user may delete them."""
    for pod in sight.pods:
        own_s = (pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 0
        if is_over(pod) or own_s <= grace_s:
            continue
        try:
            client.delete(f"pods/{name_of(pod)}", propagation="Background", grace_s=grace_s, uid=uid_of(pod))
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
