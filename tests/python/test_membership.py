"""Membership and reads: servers come and go while clients work; what is read is never stale.

Each docstring begins with the line of the correctness rules that the test covers. What the original
contract does not name is asked for with its messages and the numbers of raft.proto.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from clients import messages
from cluster import Cluster
from load import Load
from processes import is_alive, listeners
from waiting import wait_until

LINEARIZABLE = 1
LOCAL = 2

SHORT_S = 1.0
"""How long a call may wait that nobody can serve."""


def expect_fresh(cluster: Cluster, server: int, key: str, value: str) -> None:
    """Reads linearizably on one server, until it can serve that: then the value, and never another."""

    def served() -> bool:
        found = cluster.server(server).get(key, consistency=LINEARIZABLE)
        assert found in ("", value), f"server {server}: {found!r} instead of {value!r}"
        return found == value

    wait_until(f"server {server} serves a linearizable read", served)


# Servers are added


def test_start_server_of_an_id_outside_the_cluster_adds_it(trio: Cluster) -> None:
    """M5, contract 2: the others go on, and the new server has what was written before and after."""
    before = {f"before {number}": str(number) for number in range(50)}
    trio.put_all(before)
    pids = trio.pids()
    trio.start_server(3)
    trio.size = 4
    assert {server: trio.pids()[server] for server in pids} == pids
    assert listeners(trio.port(3)) == {trio.pid(3)}
    trio.put("after", "it was added")
    trio.expect_everywhere({**before, "after": "it was added"})


def test_an_added_server_counts_in_elections_and_commits(cluster: Cluster) -> None:
    """M5: a cluster of one that has grown to three lives on without the first server."""
    cluster.start_raft(1)
    cluster.put("key", "of the first server")
    for server in (1, 2):
        cluster.start_server(server)
    cluster.size = 3
    cluster.expect_everywhere({"key": "of the first server"})
    cluster.kill(0)
    assert cluster.get("key") == "of the first server"
    cluster.put("key", "without it")
    cluster.start_server(0)
    cluster.expect_everywhere({"key": "without it"})


def test_start_server_of_an_added_server_again_restarts_nothing(trio: Cluster) -> None:
    """F1: also at the same time, and for two new servers at once."""
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(trio.frontend.start_server, (3, 3, 4, 4)))
    assert all(reply.ok for reply in replies), replies
    trio.size = 5
    assert sorted(trio.pids()) == [0, 1, 2, 3, 4]
    pids = trio.pids()
    trio.start_server(4)
    assert trio.pids() == pids
    trio.put("key", "value")
    trio.expect_everywhere({"key": "value"})


def test_start_raft_after_servers_were_added_leaves_none_of_them(trio: Cluster) -> None:
    """F1: a fresh cluster has its own servers alone."""
    trio.start_server(3)
    added = trio.pid(3)
    trio.start_raft(3)
    assert not is_alive(added)
    assert sorted(trio.pids()) == [0, 1, 2]
    assert not (trio.state_directory / "server_3.json").exists()


def test_a_cluster_that_has_changed_comes_back_after_every_process_was_killed(trio: Cluster) -> None:
    """P1, S5: who belongs to the cluster is as durable as what was written."""
    trio.start_server(3)
    trio.size = 4
    trio.put("key", "value")
    trio.kill(0, 1, 2, 3)
    trio.start_servers(trio.ids)
    trio.expect_everywhere({"key": "value"})


# Servers are removed


def test_a_removed_server_is_stopped_and_keeps_its_files(trio: Cluster) -> None:
    """M4: the others serve on; StartServer adds it again with what it has missed."""
    trio.put("key", "before")
    follower = trio.followers()[0]
    reply = trio.frontend.remove_member(follower)
    assert reply.ok, reply
    assert follower not in trio.pids()
    assert (trio.state_directory / f"server_{follower}.json").exists()
    trio.put("key", "without it")
    trio.start_server(follower)
    trio.expect_everywhere({"key": "without it"})


def test_the_leader_is_removed_under_load_and_no_acknowledged_write_is_lost(trio: Cluster) -> None:
    """M4: another leads, and clients write on."""
    with Load("removal") as load:
        load.wait_for_more(30)
        old = trio.leader()
        reply = trio.frontend.remove_member(old)
        assert reply.ok, reply
        load.wait_for_more(30)
    rest = [server for server in trio.ids if server != old]
    assert trio.leader(rest) != old
    assert sorted(trio.pids()) == rest
    trio.expect_everywhere(load.acknowledged, among=rest)


def test_who_cannot_be_removed_is_told_in_an_error_and_the_cluster_serves_on(
    cluster: Cluster,
) -> None:
    """M2: the last server, and one that does not belong to the cluster."""
    cluster.start_raft(1)
    for server in (0, 1, -1):
        reply = cluster.frontend.remove_member(server)
        assert not reply.wrong_leader and reply.error, (server, reply)
    cluster.put("key", "value")
    assert cluster.get("key") == "value"


# Reads


def test_every_read_through_the_frontend_sees_the_last_acknowledged_write(trio: Cluster) -> None:
    """L1, L2: also while the leader is stopped and goes on without knowing of the next one."""
    for number in range(3):
        trio.put("key", f"{number} before")
        leader = trio.leader()
        trio.pause(leader)
        trio.put("key", f"{number} after")
        trio.resume(leader)
        for server in trio.ids:
            expect_fresh(trio, server, "key", f"{number} after")
        assert trio.get("key") == f"{number} after"
        trio.settle()


def test_a_linearizable_read_is_served_by_every_server(trio: Cluster) -> None:
    """L4: a follower asks the leader first, and is never behind what was acknowledged."""
    for number in range(20):
        trio.put("key", str(number))
        for server in trio.ids:
            expect_fresh(trio, server, "key", str(number))


def test_without_a_majority_only_local_reads_are_served(trio: Cluster) -> None:
    """L1, contract 2: a linearizable read gets an error or the deadline, a local one what is there."""
    trio.put("key", "value")
    trio.expect_everywhere({"key": "value"})
    trio.kill(1, 2)
    for consistency in (0, LINEARIZABLE):
        try:
            reply = trio.frontend.get("key", timeout_s=SHORT_S, consistency=consistency)
            assert not reply.ok and reply.value == "", reply
        except grpc.RpcError:
            pass
    local = trio.frontend.get("key", consistency=LOCAL)
    assert local.ok and local.value == "value", local
    assert trio.server(0).get("key") == "value"
    assert trio.server(0).get("key", consistency=LOCAL) == "value"


def test_a_message_of_the_original_contract_is_what_it_always_was() -> None:
    """Contract 1: a consistency of 0 is not on the wire."""
    assert messages.GetKey(key="k").SerializeToString() == b"\n\x01k"
