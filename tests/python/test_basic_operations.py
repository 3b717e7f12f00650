"""Basic operations: put and get, replication, retries, bad input.

Each docstring begins with the line of the correctness rules that the test covers.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from clients import CALL_TIMEOUT_S, State, messages, send_raw
from cluster import Cluster
from configuration import FRONTEND_PORT
from odd_strings import ODD_STRINGS

NewCluster = Callable[..., Cluster]


# Put and get


def test_before_start_raft_get_and_put_answer_at_once(new_cluster: NewCluster) -> None:
    """Contract 2: wrongLeader and an error, never a hang."""
    cluster = new_cluster()
    cluster.start_frontend()
    for reply in (cluster.frontend.get("key"), cluster.frontend.put("key", "value")):
        assert reply.wrong_leader and reply.error, reply
    assert cluster.pids() == {}


def test_what_was_put_is_read_and_overwritten(trio: Cluster) -> None:
    """C4: a missing key reads as the empty string; an empty value is a value like any other."""
    assert trio.get("missing") == ""
    assert all(trio.server(server).get("missing") == "" for server in trio.ids)
    for value in ("first", "second", "", "third"):
        trio.put("key", value)
        assert trio.get("key") == value
    assert trio.get("missing") == ""


def test_odd_keys_and_values_make_the_round_trip(trio: Cluster) -> None:
    """I1: as keys and as values, on the frontend and on every server."""
    pairs = dict(zip(ODD_STRINGS.values(), reversed(ODD_STRINGS.values())))
    pairs |= {f"value: {name}": value for name, value in ODD_STRINGS.items()}
    pairs["empty value"] = ""
    trio.put_all(pairs)
    assert {key: trio.get(key) for key in pairs} == pairs
    trio.expect_everywhere(pairs)


def test_keys_that_were_never_put_are_missing_whatever_their_name(trio: Cluster) -> None:
    """I1: the names of a language's own properties are no keys of the store."""
    for key in ("__proto__", "constructor", "toString", "hasOwnProperty", "length"):
        assert trio.get(key) == ""
        assert all(trio.server(server).get(key) == "" for server in trio.ids)


def test_a_value_of_one_mebibyte_makes_the_round_trip(trio: Cluster) -> None:
    """I1: on the frontend and on every server, and the next write works."""
    value = "".join(random.Random(1).choices('abcdefgh\n"é', k=1024 * 1024))
    value = value.encode()[: 1024 * 1024].decode(errors="ignore")
    trio.put("large", value)
    assert trio.get("large") == value
    trio.put("small", "next")
    trio.expect_everywhere({"large": value, "small": "next"})


def test_a_write_is_replicated_to_every_server(cluster: Cluster) -> None:
    """Contract 2: every server's own data hold it, and commit and apply go together."""
    cluster.start_raft(5)
    pairs = {f"key {number}": f"value {number}" for number in range(50)}
    cluster.put_all(pairs)
    cluster.expect_everywhere(pairs)
    states = cluster.settle()
    assert all(state.commit_index >= len(pairs) for state in states.values())


def test_a_put_on_the_leader_is_applied_when_it_is_acknowledged(trio: Cluster) -> None:
    """Contract 2: success means committed and applied; the frontend sees it too."""
    for number in range(10):
        leader = trio.put_on_leader("key", str(number))
        assert trio.server(leader).get("key") == str(number)
        assert trio.get("key") == str(number)


def test_a_put_on_a_follower_is_refused_and_names_the_leader(trio: Cluster) -> None:
    """Contract 2: success is false and the error leads on; nothing is written."""
    trio.settle()
    leader = trio.leader()
    for follower in trio.followers():
        outcome = trio.server(follower).put("key", "value")
        assert not outcome.success and outcome.error
        names = (str(leader), str(trio.port(leader)), f"raftserver{leader + 1}")
        assert any(name in outcome.error for name in names), outcome.error
    trio.expect_everywhere({"key": ""})


def test_concurrent_writes_all_take_effect(trio: Cluster) -> None:
    """Contract 2: many clients at once, and every server ends with the same data."""
    pairs = {f"key {number}": f"value {number}" for number in range(200)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: trio.put(key, pairs[key]), pairs))
        contested = list(
            threads.map(lambda number: trio.frontend.put("contested", str(number)), range(50))
        )
    assert all(reply.ok for reply in contested)
    final = trio.get("contested")
    assert final in {str(number) for number in range(50)}
    trio.expect_everywhere({**pairs, "contested": final})


# The (clientId, requestId) rule


def test_a_retry_is_applied_once_and_gets_the_first_answer(trio: Cluster) -> None:
    """C1: the same pair with the same key and value, through the frontend and on the leader."""
    trio.put("key", "first", client=7, request=1)
    trio.put("key", "second", client=7, request=2)
    trio.put("key", "first", client=7, request=1)
    assert trio.get("key") == "second"
    trio.put_on_leader("key", "first", client=7, request=1)
    trio.expect_everywhere({"key": "second"})


def test_one_pair_for_all_writes_loses_none_of_them(trio: Cluster) -> None:
    """C1: existing clients send 1/1 every time; different writes are separate writes."""
    pairs = {f"key {number}": f"value {number}" for number in range(50)}
    for key, value in pairs.items():
        trio.put(key, value, client=1, request=1)
    for number in range(20):
        trio.put("key", str(number), client=1, request=1)
        assert trio.get("key") == str(number)
        trio.put_on_leader("on the leader", str(number), client=1, request=1)
        assert trio.get("on the leader") == str(number)
    trio.expect_everywhere({**pairs, "key": "19", "on the leader": "19"})


def test_request_ids_in_random_order_lose_no_write(trio: Cluster) -> None:
    """C1: a lower request id after a higher one is a write like any other."""
    order = random.Random(2).sample(range(1, 2**31 - 1), 60)
    for number, request in enumerate(order):
        trio.put("key", f"{number}", client=5, request=request)
        assert trio.get("key") == f"{number}"
        trio.put(f"key {request}", f"{number}", client=5, request=request)
    trio.expect_everywhere({f"key {request}": f"{n}" for n, request in enumerate(order)})


def test_writes_without_ids_are_never_taken_for_retries(trio: Cluster) -> None:
    """Contract 2: both ids absent, and the same write again takes effect again."""
    for value in ("one", "two", "one", "two", "one"):
        trio.put("key", value)
        assert trio.get("key") == value
        trio.put_on_leader("on the leader", value)
        assert trio.get("on the leader") == value


# Bad input


def test_an_empty_key_is_refused(trio: Cluster) -> None:
    """I2: a clear error, not a missing leader, and nothing is logged."""
    # A new leader's own first entry is committed by then, which StartRaft does not wait for.
    trio.put("key", "value")
    before = trio.settle()[0]
    reply = trio.frontend.put("", "value")
    assert not reply.wrong_leader and reply.error, reply
    outcome = trio.server(trio.leader()).put("", "value")
    assert not outcome.success and outcome.error
    assert _writes_between(before, trio.settle()[0]) <= 0


def _writes_between(before: State, after: State) -> int:
    """Entries committed in between, apart from the one with which every new leader begins."""
    return after.commit_index - before.commit_index - (after.term - before.term)


def test_an_oversized_value_is_refused_and_stores_nothing(trio: Cluster) -> None:
    """I2: in the answer or as a gRPC error; the cluster serves on without an election."""
    trio.put("key", "kept")
    pids = trio.pids()
    huge = "x" * (32 * 1024 * 1024)
    try:
        assert trio.frontend.put("key", huge).error
    except grpc.RpcError as error:
        assert error.code() != grpc.StatusCode.DEADLINE_EXCEEDED
    try:
        assert not trio.server(trio.leader()).put("key", huge).success
    except grpc.RpcError as error:
        assert error.code() != grpc.StatusCode.DEADLINE_EXCEEDED
    assert trio.pids() == pids
    trio.expect_everywhere({"key": "kept"})
    trio.put("key", "next")


def test_malformed_messages_are_refused_and_crash_nothing(trio: Cluster) -> None:
    """I2: on every method that takes an argument; nothing is logged."""
    trio.put("key", "value")
    before = trio.settle()[0]
    pids = trio.pids()
    frontend = f"127.0.0.1:{FRONTEND_PORT}"
    server = f"127.0.0.1:{trio.port(trio.leader())}"
    unfinished_tag, unfinished_text = b"\xff\xff\xff", b"\x0a\x05ab"
    for address, method, message in [
        (frontend, "/raft.FrontEnd/StartRaft", unfinished_tag),
        (frontend, "/raft.FrontEnd/StartServer", unfinished_tag),
        (frontend, "/raft.FrontEnd/Get", unfinished_text),
        (frontend, "/raft.FrontEnd/Put", unfinished_text),
        (server, "/raft.KeyValueStore/Get", unfinished_text),
        (server, "/raft.KeyValueStore/Put", unfinished_text),
        (server, "/raft.KeyValueStore/AppendEntries", unfinished_tag),
        (server, "/raft.KeyValueStore/RequestVote", unfinished_tag),
    ]:
        with pytest.raises(grpc.RpcError) as refused:
            send_raw(address, method, message)
        assert refused.value.code() != grpc.StatusCode.DEADLINE_EXCEEDED, method
    assert trio.pids() == pids
    trio.put("key", "value")
    assert _writes_between(before, trio.settle()[0]) <= 1


@pytest.mark.parametrize(
    "text", [b"a\xff\xfeb", b"a\xed\xa0\x80b"], ids=["no UTF-8", "lone surrogate"]
)
def test_text_that_is_no_unicode_is_refused_or_kept_byte_for_byte(
    trio: Cluster, text: bytes
) -> None:
    """I1, I2: never acknowledged and then changed on its way."""
    trio.put("key", "before")
    frontend = f"127.0.0.1:{FRONTEND_PORT}"
    # GetKey, StringArg: key=1. KeyValue: key=1, value=2.
    key, length = b"\x0a\x03key", bytes([len(text)])
    try:
        answer = send_raw(frontend, "/raft.FrontEnd/Put", key + b"\x12" + length + text)
        refused = messages.Reply.FromString(answer).error != ""
    except grpc.RpcError:
        refused = True
    value = b"before" if refused else text
    assert value in send_raw(frontend, "/raft.FrontEnd/Get", key)
    trio.settle()
    for server in trio.ids:
        address = f"127.0.0.1:{trio.port(server)}"
        assert value in send_raw(address, "/raft.KeyValueStore/Get", key)


def test_bytes_that_are_no_grpc_disturb_nobody(trio: Cluster) -> None:
    """I2: on every port, and connections that never say anything do not matter."""
    pids = trio.pids()
    ports = [FRONTEND_PORT, *(trio.port(server) for server in trio.ids)]
    silent = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(10)]
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), timeout=CALL_TIMEOUT_S) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 16)
    trio.put("key", "value")
    for connection in silent:
        connection.close()
    assert trio.pids() == pids
    trio.expect_everywhere({"key": "value"})
