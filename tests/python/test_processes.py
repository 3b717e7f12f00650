"""Processes and ports: one process a server, found and started by the contract.

Each docstring begins with the line of the correctness rules that the test covers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from clients import FrontEndClient, ServerClient
from cluster import Cluster
from configuration import FRONTEND_PORT, has_ipv6
from processes import is_alive, listeners


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
