"""What NetworkPolicies allow, worked out from their text: networking.k8s.io/v1 as its API reference defines it.

A connection is allowed when the source's egress and the destination's ingress both allow it. A pod that no policy of a
direction selects is open in that direction; else one rule of any policy that selects it has to match.

Left to each network plugin by the reference, and so a parameter here: whether an ipBlock matches the address of a pod.
Out of scope: address translation. Give the address and port that the packet has behind it, a Service's pod and its port.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Pod:
    """A pod that is an end of a connection.

    Attributes:
        namespace: its namespace's name.
        labels: its own.
        namespace_labels: beside `kubernetes.io/metadata.name`, which the API server sets.
        address: its IP address.
        ports: names of its container ports.
    """

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.88.0.7"
    ports: Mapping[str, int] = field(default_factory=dict)


End = Pod | str
"""A pod, or the address of something that is none: a machine, a pod of the node's network."""


def allows(
    policies: Iterable[Mapping[str, Any]],
    source: End,
    destination: End,
    port: int,
    protocol: str = "TCP",
    *,
    blocks_match_pods: bool = False,
) -> bool:
    """Whether a connection may be opened from one end to the other."""
    policies = list(policies)
    if source == destination:
        return True  # a pod always reaches itself

    def open_to(pod: End, peer: End, direction: str) -> bool:
        if not isinstance(pod, Pod):
            return True  # policies are about pods
        mine = [p for p in policies if direction in _types(p["spec"]) and _selects(p, pod)]
        return not mine or any(
            _peer_matches(
                rule, direction, policy["metadata"]["namespace"], peer, blocks_match_pods=blocks_match_pods
            )
            and _port_matches(rule, destination, port, protocol)
            for policy in mine
            for rule in policy["spec"].get(direction.lower()) or ()
        )

    return open_to(source, destination, "Egress") and open_to(destination, source, "Ingress")


def _types(spec: Mapping[str, Any]) -> list[str]:
    """Without policyTypes: Ingress, and Egress when there are egress rules."""
    return spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _selects(policy: Mapping[str, Any], pod: Pod) -> bool:
    return policy["metadata"]["namespace"] == pod.namespace and selected(
        policy["spec"].get("podSelector") or {}, pod.labels
    )


def selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches; an empty one matches everything."""
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ValueError(f"no such operator: {other}")


def _peer_matches(
    rule: Mapping[str, Any], direction: str, namespace: str, peer: End, *, blocks_match_pods: bool
) -> bool:
    peers = rule.get("to" if direction == "Egress" else "from")
    return not peers or any(
        _is_peer(each, namespace, peer, blocks_match_pods=blocks_match_pods) for each in peers
    )


def _is_peer(wanted: Mapping[str, Any], namespace: str, peer: End, *, blocks_match_pods: bool) -> bool:
    if "ipBlock" in wanted:
        if isinstance(peer, Pod):
            return blocks_match_pods and _in_block(wanted["ipBlock"], peer.address)
        return _in_block(wanted["ipBlock"], peer)
    if not isinstance(peer, Pod):
        return False
    if "namespaceSelector" in wanted:
        labels = {**peer.namespace_labels, "kubernetes.io/metadata.name": peer.namespace}
        there = selected(wanted["namespaceSelector"] or {}, labels)
    else:
        there = peer.namespace == namespace
    return there and selected(wanted.get("podSelector") or {}, peer.labels)


def _in_block(block: Mapping[str, Any], address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return _within(ip, block["cidr"]) and not any(_within(ip, hole) for hole in block.get("except") or ())


def _within(ip: Address, cidr: str) -> bool:
    return ip in ipaddress.ip_network(cidr)  # strict: host bits in a CIDR are a slip


def _port_matches(rule: Mapping[str, Any], destination: End, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return not ports or any(_is_port(each, destination, port, protocol) for each in ports)


def _is_port(wanted: Mapping[str, Any], destination: End, port: int, protocol: str) -> bool:
    if wanted.get("protocol", "TCP") != protocol:
        return False
    first = wanted.get("port")
    if first is None:
        return True
    if isinstance(first, str):  # the name of a port of the destination's containers
        return isinstance(destination, Pod) and destination.ports.get(first) == port
    return first <= port <= wanted.get("endPort", first)
