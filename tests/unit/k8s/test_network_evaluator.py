"""The evaluator of NetworkPolicies on examples small enough to judge by eye."""

import pytest

from tests.network import Pod, allows, selected

A = Pod("ns", {"app": "a"}, address="10.88.0.1")
B = Pod("ns", {"app": "b"}, address="10.88.0.2", ports={"web": 8080})
ELSEWHERE = Pod("other", {"app": "b"}, {"team": "x"}, address="10.88.0.3")
OUTSIDE = "203.0.113.7"


def policy(spec, namespace="ns"):
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": spec}


def egress(*rules, of=None):
    return policy({"podSelector": of or {}, "policyTypes": ["Egress"], "egress": list(rules)})


def ingress(*rules, of=None):
    return policy({"podSelector": of or {}, "policyTypes": ["Ingress"], "ingress": list(rules)})


def test_without_policies_everything_is_open():
    assert allows([], A, OUTSIDE, 443)
    assert allows([], OUTSIDE, A, 443)


def test_a_policy_that_selects_a_pod_closes_its_direction_only():
    assert not allows([egress()], A, OUTSIDE, 443)
    assert allows([egress()], OUTSIDE, A, 443)
    assert not allows([ingress()], OUTSIDE, A, 443)
    assert allows([ingress()], A, OUTSIDE, 443)


def test_a_policy_of_another_namespace_or_of_other_labels_selects_nothing():
    elsewhere = policy({"podSelector": {}, "policyTypes": ["Egress"]}, namespace="other")
    assert allows([elsewhere], A, OUTSIDE, 443)
    assert allows([egress(of={"matchLabels": {"app": "b"}})], A, OUTSIDE, 443)


def test_an_empty_rule_allows_everything_and_no_rule_nothing():
    assert allows([egress({})], A, OUTSIDE, 9)
    assert not allows([egress()], A, OUTSIDE, 9)


def test_policies_add_up_and_none_takes_away():
    first = egress({"ports": [{"port": 53, "protocol": "UDP"}]})
    second = egress({"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]})
    assert allows([egress(), first, second], A, OUTSIDE, 80)
    assert allows([egress(), first, second], A, "198.51.100.1", 53, "UDP")
    assert not allows([egress(), first, second], A, "198.51.100.1", 80)


def test_peers_and_ports_of_one_rule_must_both_match():
    rule = {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443}]}
    assert allows([egress(rule)], A, OUTSIDE, 443)
    assert not allows([egress(rule)], A, OUTSIDE, 80)
    assert not allows([egress(rule)], A, "198.51.100.1", 443)


def test_both_ends_must_agree():
    out = egress({"to": [{"podSelector": {"matchLabels": {"app": "b"}}}]}, of={"matchLabels": {"app": "a"}})
    closed = ingress(of={"matchLabels": {"app": "b"}})
    opened = ingress(
        {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}, of={"matchLabels": {"app": "b"}}
    )
    assert allows([out], A, B, 1)
    assert not allows([out, closed], A, B, 1)
    assert allows([out, closed, opened], A, B, 1)


def test_a_pod_reaches_itself():
    assert allows([egress(), ingress()], A, A, 1)


@pytest.mark.parametrize(
    ("peer", "same", "other"),
    [
        ({"podSelector": {"matchLabels": {"app": "b"}}}, True, False),
        ({"podSelector": {}}, True, False),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, False, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, False, True),
        ({"namespaceSelector": {}}, True, True),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "b"}}}, True, True),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "z"}}}, False, False),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}, "podSelector": {}}, False, True),
    ],
)
def test_selectors_of_pods_and_namespaces(peer, same, other):
    assert allows([egress({"to": [peer]})], A, B, 1) is same
    assert allows([egress({"to": [peer]})], A, ELSEWHERE, 1) is other
    assert not allows([egress({"to": [peer]})], A, OUTSIDE, 1)


def test_two_peers_are_alternatives_where_two_selectors_in_one_peer_are_not():
    either = [{"namespaceSelector": {"matchLabels": {"team": "x"}}}, {"podSelector": {}}]
    assert allows([egress({"to": either})], A, B, 1)
    assert allows([egress({"to": either})], A, ELSEWHERE, 1)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.1.2.3", True), ("10.2.0.1", False), ("11.0.0.1", False), ("fd00::1", False)],
)
def test_ip_blocks_have_holes(address, expected):
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.2.0.0/16"]}}
    assert allows([egress({"to": [block]})], A, address, 443) is expected


def test_ip_blocks_of_version_6():
    block = {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}
    assert allows([egress({"to": [block]})], A, "2001:db8::1", 443)
    assert not allows([egress({"to": [block]})], A, "fe80::1", 443)
    assert not allows([egress({"to": [block]})], A, OUTSIDE, 443)


def test_whether_ip_blocks_match_pods_is_the_plugins_choice():
    block = egress({"to": [{"ipBlock": {"cidr": "10.88.0.0/16"}}]})
    assert not allows([block], A, B, 1)
    assert allows([block], A, B, 1, blocks_match_pods=True)


@pytest.mark.parametrize(
    ("ports", "port", "protocol", "expected"),
    [
        ([{"port": 80}], 80, "TCP", True),
        ([{"port": 80}], 80, "UDP", False),
        ([{"port": 53, "protocol": "UDP"}], 53, "UDP", True),
        ([{"protocol": "TCP"}], 12345, "TCP", True),
        ([{"protocol": "TCP"}], 12345, "UDP", False),
        ([{"port": 100, "endPort": 200}], 100, "TCP", True),
        ([{"port": 100, "endPort": 200}], 200, "TCP", True),
        ([{"port": 100, "endPort": 200}], 201, "TCP", False),
        ([{"port": 100, "endPort": 200}], 99, "TCP", False),
        ([{"port": "web"}], 8080, "TCP", True),
        ([{"port": "web"}], 8081, "TCP", False),
        ([{"port": "none"}], 8080, "TCP", False),
        ([], 1, "SCTP", True),
    ],
)
def test_ports(ports, port, protocol, expected):
    assert allows([egress({"ports": ports})], A, B, port, protocol) is expected


@pytest.mark.parametrize(
    ("spec", "out", "into"),
    [
        ({}, True, False),
        ({"egress": []}, True, False),
        ({"egress": [{"ports": [{"port": 1}]}]}, False, False),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, False, True),
        ({"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}, True, True),
    ],
)
def test_policy_types_and_what_stands_in_for_them(spec, out, into):
    assert allows([policy({"podSelector": {}, **spec})], A, OUTSIDE, 443) is out
    assert allows([policy({"podSelector": {}, **spec})], OUTSIDE, A, 443) is into


@pytest.mark.parametrize(
    ("operator", "values", "with_a", "with_b", "without"),
    [
        ("In", ["a"], True, False, False),
        ("NotIn", ["a"], False, True, True),
        ("Exists", None, True, True, False),
        ("DoesNotExist", None, False, False, True),
    ],
)
def test_operators_of_selectors(operator, values, with_a, with_b, without):
    selector = {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}
    assert selected(selector, {"k": "a"}) is with_a
    assert selected(selector, {"k": "b"}) is with_b
    assert selected(selector, {}) is without


def test_all_parts_of_a_selector_must_hold():
    selector = {"matchLabels": {"x": "1"}, "matchExpressions": [{"key": "k", "operator": "Exists"}]}
    assert selected(selector, {"x": "1", "k": ""})
    assert not selected(selector, {"x": "1"})
    assert not selected(selector, {"k": ""})
