"""Basic operations: configuration, processes, election, put and get, replication, bad input.

Each docstring begins with the line of the correctness rules that the test covers.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from clients import CALL_TIMEOUT_S, Entry, FrontEndClient, ServerClient, State, messages, send_raw
from cluster import Cluster
from configuration import DEFAULT_BASE_PORT, FRONTEND_PORT, has_ipv6, is_free
from odd_strings import ODD_STRINGS
from processes import is_alive, listeners
from waiting import DEADLINE_S, wait_until

NewCluster = Callable[..., Cluster]


# Configuration


def test_a_missing_config_file_means_the_defaults(new_cluster: NewCluster) -> None:
    """Contract 3: without a config.ini the servers are at port 9001 and up."""
    taken = [port for port in range(DEFAULT_BASE_PORT, DEFAULT_BASE_PORT + 3) if not is_free(port)]
    if taken:
        pytest.skip(f"the default ports {taken} are in use on this machine")
    cluster = new_cluster(base_port=str(DEFAULT_BASE_PORT))
    (cluster.directory / "config.ini").unlink()
    cluster.start_frontend()
    cluster.start_raft(3)
    cluster.put("where", "at the default ports")
    cluster.expect_everywhere({"where": "at the default ports"})


@pytest.mark.parametrize("path", ["memory", "kept/here"])
def test_the_state_is_kept_where_config_says_and_active_limits_nothing(
    new_cluster: NewCluster, path: str
) -> None:
    """Contract 3: `memory`, found in older files, means raft_state; `active` limits no cluster."""
    cluster = new_cluster(persistent_state_path=path, active="0")
    cluster.start_frontend()
    cluster.start_raft(3)
    for server in cluster.ids:
        assert (cluster.state_directory / f"server_{server}.json").is_file()
    cluster.put("kept", "yes")
    cluster.kill(*cluster.ids)
    cluster.start_servers(cluster.ids)
    assert cluster.get("kept") == "yes"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("Global", "base_address", "not an address"),
        ("Servers", "base_port", "0"),
        ("Servers", "base_port", "70000"),
        ("Servers", "base_port", "port"),
        ("Servers", "base_port", str(FRONTEND_PORT)),
        ("Servers", "active", "0,1,1"),
        ("Servers", "active", "0,x"),
        ("Servers", "max_workers", "many"),
        ("Servers", "base_source_port", "-1"),
    ],
)
def test_a_bad_config_value_stops_the_frontend_with_one_line(
    new_cluster: NewCluster, section: str, key: str, value: str
) -> None:
    """Contract 3: the line names the file, the section, the key and the value."""
    cluster = new_cluster()
    _change_setting(cluster.directory / "config.ini", key, value)
    line = _only_line_of_a_frontend_that_refuses(cluster)
    for part in ("config.ini", section, key, value):
        assert part in line


@pytest.mark.parametrize(
    ("section", "key"), [("Global", "base_address"), ("Servers", "max_workers")]
)
def test_a_missing_config_key_stops_the_frontend_with_one_line(
    new_cluster: NewCluster, section: str, key: str
) -> None:
    """Contract 3: all six keys are present, or the line names the missing one."""
    cluster = new_cluster(**{key: None})
    line = _only_line_of_a_frontend_that_refuses(cluster)
    for part in ("config.ini", section, key):
        assert part in line


def test_a_second_frontend_is_refused_and_the_first_serves_on(trio: Cluster) -> None:
    """F2: a port in use is a clear error and a non-zero exit."""
    pids = trio.pids()
    before = len(trio.frontend_output())
    second = trio.spawn_frontend()
    code = second.wait(timeout=DEADLINE_S)
    assert code != 0
    assert str(FRONTEND_PORT) in trio.frontend_output()[before:]
    assert trio.pids() == pids
    trio.put("first", "serves on")


def _change_setting(file: Path, key: str, value: str) -> None:
    lines = file.read_text().splitlines()
    changed = [f"{key} = {value}" if line.startswith(f"{key} ") else line for line in lines]
    assert changed != lines
    file.write_text("\n".join(changed) + "\n")


def _only_line_of_a_frontend_that_refuses(cluster: Cluster) -> str:
    process = cluster.spawn_frontend()
    try:
        code = process.wait(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert code != 0
    lines = [line for line in cluster.frontend_output().splitlines() if line.strip()]
    assert len(lines) == 1, lines
    return lines[0]


# Processes and ports


def test_each_server_is_one_process_that_ps_and_lsof_find(trio: Cluster) -> None:
    """Contract 3: the name raftserver<i+1> and the port lead to exactly that process."""
    assert sorted(trio.pids()) == [0, 1, 2]
    for server in trio.ids:
        assert listeners(trio.port(server)) == {trio.pid(server)}
    if shutil.which("ps"):
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        shown = subprocess.check_output(["ps", "aux"], text=True, env=environment).splitlines()
        for server in trio.ids:
            named = [line for line in shown if f"raftserver{server + 1}" in line]
            assert str(trio.pid(server)) in [line.split()[1] for line in named]
    if shutil.which("lsof"):
        for server in trio.ids:
            command = ["lsof", f"-iTCP:{trio.port(server)}", "-sTCP:LISTEN", "-t"]
            assert subprocess.check_output(command, text=True).split() == [str(trio.pid(server))]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_every_local_address_reaches_the_frontend_and_the_servers(trio: Cluster, host: str) -> None:
    """Contract 3: clients of this machine come by IPv4, IPv6 or name."""
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback address")
    frontend = FrontEndClient(f"{host}:{FRONTEND_PORT}")
    assert frontend.put("from", host).ok
    frontend.close()
    for server in trio.ids:
        client = ServerClient(f"{host}:{trio.port(server)}")
        assert client.ping().success
        client.close()


def test_start_raft_again_gives_a_fresh_cluster_of_the_new_size(cluster: Cluster) -> None:
    """F1: one process per id, none of the old ones, none beyond the size, and no old data."""
    seen: set[int] = set()
    for size in (5, 1, 3):
        cluster.start_raft(size)
        pids = {server: cluster.pid(server) for server in cluster.pids()}
        assert sorted(pids) == list(range(size))
        assert seen.isdisjoint(pids.values())
        seen.update(pids.values())
        assert cluster.get("old") == ""
        cluster.put("old", f"of the cluster of {size}")
        states = cluster.settle()
        assert len(states) == size


def test_start_raft_replaces_servers_that_stand_still(trio: Cluster) -> None:
    """F1: a stopped process (SIGSTOP) is no reason to fail, and does not come back."""
    old = {trio.pid(server) for server in trio.ids}
    trio.put("old", "data")
    trio.pause(0, 1)
    trio.start_raft(3)
    assert not any(is_alive(pid) for pid in old)
    trio.expect_everywhere({"old": ""})


def test_start_raft_at_the_same_time_leaves_one_process_per_id(cluster: Cluster) -> None:
    """F1: concurrent StartRaft calls end in one cluster that works."""
    with ThreadPoolExecutor(3) as threads:
        replies = list(threads.map(lambda _: cluster.frontend.start_raft(3, 45), range(3)))
    assert any(reply.ok for reply in replies), replies
    assert all(reply.ok or reply.error for reply in replies), replies
    cluster.size = 3
    assert sorted(cluster.pids()) == [0, 1, 2]
    for server in cluster.ids:
        assert listeners(cluster.port(server)) == {cluster.pid(server)}
    cluster.put("works", "yes")
    cluster.expect_everywhere({"works": "yes"})


def test_start_server_on_a_running_server_restarts_nothing(trio: Cluster) -> None:
    """F1: it is a success that changes nothing."""
    pids = trio.pids()
    for server in trio.ids:
        trio.start_server(server)
    assert trio.pids() == pids


def test_start_server_at_the_same_time_starts_one_process(trio: Cluster) -> None:
    """F1: concurrent StartServer calls for a dead server."""
    trio.kill(1)
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda _: trio.frontend.start_server(1), range(4)))
    assert all(reply.ok for reply in replies), replies
    assert listeners(trio.port(1)) == {trio.pid(1)}


def test_sizes_and_ids_out_of_range_are_refused_and_the_cluster_serves_on(trio: Cluster) -> None:
    """I2: a negative id and an absurd n are clear errors; nothing is stopped for them."""
    trio.put("kept", "yes")
    pids = trio.pids()
    for size in (0, -1, 1_000_000, 2**31 - 1, -(2**31)):
        reply = trio.frontend.start_raft(size)
        assert not reply.wrong_leader and reply.error, (size, reply)
    for server in (-1, 1_000_000, 2**31 - 1, -(2**31)):
        reply = trio.frontend.start_server(server)
        assert not reply.wrong_leader and reply.error, (server, reply)
    assert trio.pids() == pids
    assert trio.get("kept") == "yes"


def test_a_stranger_on_a_servers_port_or_with_its_name_is_reported_and_not_harmed(
    cluster: Cluster,
) -> None:
    """F2, F5: StartRaft says why it failed, kills nobody who is not ours, and works afterwards."""
    cluster.start_raft(1)
    with _stranger(cluster.port(1), "raftserver2") as stranger:
        reply = cluster.frontend.start_raft(3)
        assert not reply.ok and reply.error, reply
        assert stranger.poll() is None
    cluster.start_raft(3)
    cluster.put("works", "again")


@contextmanager
def _stranger(port: int, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else that carries a server's name and listens on its port."""
    program = (
        "import socket, sys, time\n"
        "listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print('listening', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(port), name],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


# Election


def test_five_servers_elect_one_leader_and_agree_on_its_term(cluster: Cluster) -> None:
    """E10, F2: every server serves as soon as StartRaft has answered; one leader, one term."""
    cluster.start_raft(5)
    assert all(cluster.server(server).ping().success for server in cluster.ids)
    states = cluster.settle()
    assert sum(state.is_leader for state in states.values()) == 1
    assert all(state.term >= 1 for state in states.values())


def test_a_leader_that_hears_of_a_higher_term_steps_down(trio: Cluster) -> None:
    """E5: the higher term is kept, a leader is elected beyond it, nothing is lost."""
    trio.put("before", "the change")
    leader = trio.leader()
    other = trio.followers()[0]
    term = trio.server(leader).state().term + 500
    trio.server(leader).append_entries(term=term, leader=other)
    wait_until(
        "a leader is elected beyond the higher term",
        lambda: trio.server(trio.leader()).state().term > term,
    )
    trio.put("after", "the change")
    trio.expect_everywhere({"before": "the change", "after": "the change"})


def test_request_vote_by_hand_obeys_the_paper(trio: Cluster) -> None:
    """E1, E3, E5: up-to-date logs only (Raft 5.4.1), one vote a term, also across a restart."""
    lone = _leave_one_follower(trio)
    server = trio.server(lone.id)
    one, other = lone.others

    stale = server.request_vote(lone.term - 1, one, lone.last_index, lone.last_term)
    assert not stale.granted and stale.term >= lone.term

    higher = lone.term + 100

    def denied_in_the_higher_term() -> bool:
        # The log is longer, its last term older. A server may ignore candidates altogether for as
        # long as it believes that a leader exists.
        assert not server.request_vote(
            higher, one, lone.last_index + 50, lone.last_term - 1
        ).granted
        return server.state().term >= higher

    wait_until("the higher term of a request is kept", denied_in_the_higher_term)
    shorter = server.request_vote(higher, one, lone.last_index - 1, lone.last_term)
    assert not shorter.granted

    term = server.state().term + 100
    wait_until(
        "a candidate whose log is up to date gets the vote",
        lambda: server.request_vote(term, one, lone.last_index, lone.last_term).granted,
    )
    assert not server.request_vote(term, other, lone.last_index + 9, lone.last_term).granted
    again = server.request_vote(term, one, lone.last_index, lone.last_term)
    assert again.granted or again.term > term

    trio.kill(lone.id)
    trio.start_server(lone.id)
    server = trio.server(lone.id)
    assert server.state().term >= term
    assert not server.request_vote(term, other, lone.last_index + 9, lone.last_term).granted


def test_append_entries_by_hand_obeys_the_paper(trio: Cluster) -> None:
    """R3, R4, R6, E5: figure 2, line by line, on a follower whose fellows are gone."""
    lone = _leave_one_follower(trio)
    server = trio.server(lone.id)
    last, leader = lone.last_index, lone.others[0]

    def next_term() -> int:
        return server.state().term + 10

    stale = server.append_entries(lone.term - 1, leader, last, lone.last_term)
    assert not stale.success and stale.term >= lone.term

    term = next_term()
    gap = server.append_entries(term, leader, last + 10, term, [Entry(term, "gap", "x")])
    assert not gap.success
    assert server.state().term >= term

    # Two new entries, neither committed: stored, and invisible.
    term = first_term = next_term()
    pair = [Entry(term, "a", "1"), Entry(term, "b", "2")]
    assert server.append_entries(term, leader, last, lone.last_term, pair, last).success
    assert server.state().commit_index == last
    assert server.get("a") == ""

    # A commit index beyond what this call verified commits only what it verified.
    term = next_term()
    assert server.append_entries(term, leader, last, lone.last_term, [], last + 2).success
    assert server.state().commit_index == last

    # The first entry once more, late: the second one stays.
    term = next_term()
    assert server.append_entries(term, leader, last, lone.last_term, pair[:1], last).success
    term = next_term()
    assert server.append_entries(term, leader, last + 2, first_term, [], last).success

    # The same index in another term does not match.
    term = next_term()
    assert not server.append_entries(term, leader, last + 2, first_term + 1, [], last).success

    # A real conflict: the second entry is replaced, and both are committed.
    term = next_term()
    new = [Entry(term, "c", "3")]
    assert server.append_entries(term, leader, last + 1, first_term, new, last + 2).success
    wait_until("both are applied", lambda: server.state().last_applied == last + 2)
    assert [server.get(key) for key in "abc"] == ["1", "", "3"]

    # What is committed is not replaced.
    term = next_term()
    try:
        conflict = server.append_entries(
            term, leader, last, lone.last_term, [Entry(term, "a", "other")], last + 1
        )
        assert not conflict.success
    except grpc.RpcError:
        pass  # A refusal too.
    assert server.ping().success
    assert [server.get(key) for key in "abc"] == ["1", "", "3"]


def test_raft_calls_with_negative_numbers_change_nothing(trio: Cluster) -> None:
    """I2: refused, nothing logged, nothing crashes."""
    trio.put("kept", "yes")
    before = trio.settle()
    server = trio.server(trio.followers()[0])
    calls: list[Callable[[], bool]] = [
        lambda: server.request_vote(-5, 0, 1, 1).granted,
        lambda: server.request_vote(-5, -1, -1, -1).granted,
        lambda: server.append_entries(-5, 0).success,
        lambda: server.append_entries(-5, -1, -1, -1, [Entry(-5, "kept", "no")], -1).success,
    ]
    for call in calls:
        try:
            assert not call()
        except grpc.RpcError:
            pass  # A refusal too.
    trio.expect_everywhere({"kept": "yes"})
    assert {s.commit_index for s in trio.states().values()} >= {before[0].commit_index}


class LoneFollower(NamedTuple):
    """The only living server of three: it follows nobody, and its whole log is committed."""

    id: int
    others: tuple[int, int]
    term: int
    last_index: int
    last_term: int


def _leave_one_follower(cluster: Cluster) -> LoneFollower:
    """Kills two of three servers, in a term that is at least 2 and has an entry of its own."""
    first = cluster.leader()
    cluster.kill(first)
    cluster.put("of the", "second term")
    cluster.start_server(first)

    def settled_in_the_term_of_the_last_entry() -> tuple[int, int] | None:
        term = next(iter(cluster.settle().values())).term
        cluster.put("last", "entry")
        after = next(iter(cluster.settle().values()))
        return (after.term, after.commit_index) if after.term == term else None

    term, last = wait_until(
        "the last entry is of the current term", settled_in_the_term_of_the_last_entry
    )
    assert term >= 2
    leader = cluster.leader()
    lone, other = [server for server in cluster.ids if server != leader]
    cluster.kill(other)
    cluster.kill(leader)
    return LoneFollower(lone, (leader, other), term, last, term)


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
