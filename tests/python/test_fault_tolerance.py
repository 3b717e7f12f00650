"""Fault tolerance: servers and frontends are killed, stopped and restarted while clients write.

Each docstring begins with the line of the correctness rules that the test covers. A pause is what
a test does to a process, never how it waits.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from clients import CALL_TIMEOUT_S
from cluster import Cluster
from load import Load
from processes import is_alive, send, zombies_of
from waiting import wait_until

SHORT_S = 1.0
"""How long a call may wait that nobody can serve."""


def pairs_of(name: str, count: int = 20) -> dict[str, str]:
    """Keys and values that no other part of a test writes."""
    return {f"{name} {number}": f"value of {name} {number}" for number in range(count)}


def expect_unacknowledged(cluster: Cluster, key: str) -> None:
    """A write that has no majority: an error or the deadline, never a success."""
    assert not cluster.frontend.acknowledges(key, "no majority", timeout_s=SHORT_S)


# The leader fails


def test_a_killed_leader_is_replaced_and_no_acknowledged_write_is_lost(trio: Cluster) -> None:
    """F7, P1: the very next call of the frontend is served, within its own deadline."""
    written = pairs_of("before")
    trio.put_all(written)
    old = trio.leader()
    trio.kill(old)
    trio.put("after", "the kill")
    written["after"] = "the kill"
    assert trio.leader() != old
    assert {key: trio.get(key) for key in written} == written
    rest = [server for server in trio.ids if server != old]
    trio.expect_everywhere(written, among=rest)


def test_a_read_right_after_the_leader_was_killed_sees_the_last_write(trio: Cluster) -> None:
    """L2, F7: the new leader's first read is as new as the old one's last write."""
    for number in range(3):
        trio.put("key", str(number))
        leader = trio.leader()
        trio.kill(leader)
        assert trio.get("key") == str(number)
        trio.start_server(leader)


def test_leaders_killed_under_load_lose_no_acknowledged_write(cluster: Cluster) -> None:
    """F7, P1: clients write on while one leader after the other is killed and restarted."""
    cluster.start_raft(5)
    with Load("load") as load:
        for _ in range(3):
            load.wait_for_more(30)
            leader = cluster.leader()
            cluster.kill(leader)
            load.wait_for_more(30)
            cluster.start_server(leader)
        load.wait_for_more(30)
    written = load.acknowledged
    cluster.expect_everywhere(written)
    assert {key: cluster.get(key) for key in list(written)[:100]} == dict(
        list(written.items())[:100]
    )


def test_a_retry_after_a_failover_is_applied_once(trio: Cluster) -> None:
    """C1: what a leader knew of retries, its successor knows."""
    trio.put("key", "first", client=9, request=1)
    trio.put("key", "second", client=9, request=2)
    trio.kill(trio.leader())
    trio.put("key", "first", client=9, request=1)
    assert trio.get("key") == "second"
    trio.put("other", "write", client=9, request=1)
    assert trio.get("other") == "write"


# A minority fails


def test_a_dead_minority_stops_nobody(cluster: Cluster) -> None:
    """F7: two of five are gone, the leader among them; writes and reads go on."""
    cluster.start_raft(5)
    leader = cluster.leader()
    follower = cluster.followers()[0]
    cluster.kill(leader, follower)
    written = pairs_of("minority")
    cluster.put_all(written)
    assert {key: cluster.get(key) for key in written} == written
    rest = [server for server in cluster.ids if server not in (leader, follower)]
    cluster.expect_everywhere(written, among=rest)


def test_a_restarted_follower_catches_up(trio: Cluster) -> None:
    """R7: it receives everything that was written without it, large and small."""
    follower = trio.followers()[0]
    trio.kill(follower)
    written = pairs_of("missed", 100)
    written |= {f"large {number}": str(number) * 300_000 for number in range(5)}
    trio.put_all(written)
    trio.start_server(follower)
    trio.expect_everywhere(written)


def test_a_server_that_is_killed_again_and_again_comes_back_each_time(trio: Cluster) -> None:
    """F3: a new process each time, no zombie, and it catches up."""
    pids = {trio.pid(1)}
    written: dict[str, str] = {}
    for number in range(5):
        trio.kill(1)
        trio.put(f"key {number}", "written without it")
        written[f"key {number}"] = "written without it"
        trio.start_server(1)
        pids.add(trio.pid(1))
        trio.expect_everywhere(written)
    assert len(pids) == 6
    wait_until("the dead are reaped", lambda: zombies_of(trio.frontend_pid) == [])


def test_a_killed_server_stays_dead_until_start_server(trio: Cluster) -> None:
    """Contract 2: nothing restarts it behind the caller's back, whatever else goes on."""
    trio.kill(2)
    trio.put_all(pairs_of("one"))
    leader = trio.leader(among=[0, 1])
    trio.kill(leader)
    expect_unacknowledged(trio, "two")
    trio.start_server(leader)
    trio.put_all(pairs_of("three"))
    assert sorted(trio.pids()) == [0, 1]
    trio.start_server(2)
    trio.expect_everywhere(pairs_of("one") | pairs_of("three"))


def test_a_server_that_is_told_to_stop_ends_and_the_others_serve_on(trio: Cluster) -> None:
    """F3, contract 3: SIGTERM to that pid ends that server and nothing else."""
    written = pairs_of("before")
    trio.put_all(written)
    server = trio.leader()
    rest = {other: pids for other, pids in trio.pids().items() if other != server}
    send(trio.pid(server), signal.SIGTERM)
    wait_until(f"server {server} has ended", lambda: server not in trio.pids())
    trio.put("after", "the stop")
    assert trio.pids() == rest
    trio.start_server(server)
    trio.expect_everywhere(written | {"after": "the stop"})


# The majority fails


def test_without_a_majority_nothing_is_acknowledged_and_local_reads_go_on(trio: Cluster) -> None:
    """C2, P1: it serves again as soon as a majority is back, and has lost nothing."""
    written = pairs_of("before")
    trio.put_all(written)
    trio.settle()
    survivor, dead = trio.leader(), trio.followers()
    trio.kill(*dead)
    expect_unacknowledged(trio, "lost majority")
    assert _write_on(trio, survivor, "lost majority") is not True
    trio.expect_on(survivor, written)

    trio.start_server(dead[0])
    written |= pairs_of("after")
    trio.put_all(written)
    trio.start_server(dead[1])
    trio.expect_everywhere(written)


def test_a_leader_that_loses_its_majority_steps_down(cluster: Cluster) -> None:
    """E8, C5: its followers stand still; it says that it does not lead, and recovers with them."""
    cluster.start_raft(5)
    written = pairs_of("before")
    cluster.put_all(written)
    leader = cluster.leader()
    stopped = cluster.followers()[:3]
    with ThreadPoolExecutor(1) as threads:
        cluster.pause(*stopped)
        waiting = threads.submit(_write_on, cluster, leader, "in the minority")
        wait_until("the leader steps down", lambda: not cluster.server(leader).state().is_leader)
        assert waiting.result() is not True
    expect_unacknowledged(cluster, "no majority")
    cluster.expect_on(leader, written)
    cluster.resume(*stopped)
    cluster.put("after", "the pause")
    cluster.expect_everywhere(written | {"after": "the pause"})


# Split brain


def test_a_paused_leader_steps_down_when_it_wakes_and_its_state_converges(
    cluster: Cluster,
) -> None:
    """L1, E5, E11: what waited at the old leader is committed for all or for nobody."""
    cluster.start_raft(5)
    written = pairs_of("before")
    cluster.put_all(written)
    old = cluster.leader()
    old_term = cluster.server(old).state().term
    rest = [server for server in cluster.ids if server != old]
    cluster.pause(old)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(_write_on, cluster, old, "on the old leader", CALL_TIMEOUT_S)
        # The frontend believes in the old leader until it does not answer.
        cluster.put("before 0", "overwritten")
        written["before 0"] = "overwritten"
        new = cluster.leader(among=rest)
        assert cluster.server(new).state().term > old_term
        cluster.resume(old)
        acknowledged = waiting.result()
    wait_until("the old leader follows", lambda: cluster.leader() in rest)
    cluster.put("after", "the pause")
    written["after"] = "the pause"
    cluster.expect_everywhere(written)
    if acknowledged:
        cluster.expect_everywhere({"on the old leader": "written"})
    else:
        same = {cluster.server(server).get("on the old leader") for server in cluster.ids}
        assert same in ({""}, {"written"})


def test_leaders_paused_under_load_lose_no_acknowledged_write(trio: Cluster) -> None:
    """L1, R3: every leader in turn stands still while another takes over, then wakes up."""
    with Load("load") as load:
        for _ in range(3):
            load.wait_for_more(20)
            leader = trio.leader()
            trio.pause(leader)
            rest = [server for server in trio.ids if server != leader]
            trio.leader(among=rest)
            load.wait_for_more(20)
            trio.resume(leader)
    trio.expect_everywhere(load.acknowledged)


def _write_on(cluster: Cluster, server: int, key: str, timeout_s: float = SHORT_S) -> bool | None:
    """Writes on one server: whether it was acknowledged; None when the outcome is unknown."""
    try:
        return cluster.server(server).put(key, "written", timeout_s=timeout_s).success
    except grpc.RpcError:
        return None


# The frontend fails


def test_servers_outlive_a_killed_frontend_and_the_next_one_takes_them_over(
    trio: Cluster,
) -> None:
    """F4: the same processes serve on, first alone, then behind the new frontend."""
    written = pairs_of("before")
    trio.put_all(written)
    pids = trio.pids()
    trio.stop_frontend(signal.SIGKILL)
    trio.put_on_leader("without", "a frontend")
    written["without"] = "a frontend"
    trio.start_frontend()
    assert {key: trio.get(key) for key in written} == written
    trio.put("after", "the takeover")
    for server in trio.ids:
        trio.start_server(server)
    assert trio.pids() == pids
    trio.kill(0)
    trio.put("without", "server 0")
    trio.start_server(0)
    trio.expect_everywhere(written | {"after": "the takeover", "without": "server 0"})


def test_a_new_frontend_does_not_revive_the_dead(trio: Cluster) -> None:
    """F4, contract 2: a server that was dead when the frontend came stays so until StartServer."""
    trio.kill(1)
    trio.stop_frontend(signal.SIGKILL)
    trio.start_frontend()
    trio.put_all(pairs_of("two servers"))
    assert sorted(trio.pids()) == [0, 2]
    trio.start_server(1)
    trio.expect_everywhere(pairs_of("two servers"))


def test_start_raft_by_a_new_frontend_stops_the_servers_of_the_old_one(
    cluster: Cluster,
) -> None:
    """F1, F4: also those that the new cluster has no place for."""
    cluster.start_raft(5)
    cluster.put("old", "data")
    old = [cluster.pid(server) for server in cluster.ids]
    cluster.stop_frontend(signal.SIGKILL)
    cluster.start_frontend()
    cluster.start_raft(3)
    assert not any(is_alive(pid) for pid in old)
    assert sorted(cluster.pids()) == [0, 1, 2]
    cluster.expect_everywhere({"old": ""})


def test_a_frontend_killed_in_the_middle_of_start_raft_leaves_nothing_that_lasts(
    cluster: Cluster,
) -> None:
    """F1, F4: half a cluster is no obstacle to the next StartRaft."""
    cluster.start_raft(1)
    first = cluster.pids()
    with ThreadPoolExecutor(1) as threads:
        cut_off = threads.submit(cluster.frontend.start_raft, 5)
        wait_until("a new server appears", lambda: set(cluster.pids()) - set(first))
        cluster.stop_frontend(signal.SIGKILL)
        cut_off.exception()
    cluster.start_frontend()
    cluster.start_raft(3)
    assert sorted(cluster.pids()) == [0, 1, 2]
    cluster.put("key", "value")
    cluster.expect_everywhere({"key": "value"})


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_a_frontend_that_is_told_to_stop_stops_its_servers(
    trio: Cluster, how: signal.Signals
) -> None:
    """F4: all of them, one that is stopped (SIGSTOP) too; their data are there afterwards."""
    written = pairs_of("before")
    trio.put_all(written)
    trio.pause(trio.followers()[0])
    trio.stop_frontend(how)
    _expect_no_server(trio)
    trio.start_frontend()
    trio.start_servers(trio.ids)
    trio.expect_everywhere(written)


def test_a_frontend_that_took_servers_over_stops_them_too(trio: Cluster) -> None:
    """F4: adopted servers are its servers."""
    trio.stop_frontend(signal.SIGKILL)
    trio.start_frontend()
    trio.put("key", "value")
    trio.stop_frontend(signal.SIGTERM)
    _expect_no_server(trio)


def _expect_no_server(cluster: Cluster) -> None:
    wait_until("every server has ended", lambda: cluster.pids() == {})
