"""Persistence: what was acknowledged is there after any restart, and StartRaft erases it.

Each docstring begins with the line of the correctness rules that the test covers.
"""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from types import TracebackType

import pytest

from cluster import Cluster
from load import Load
from odd_strings import ODD_STRINGS
from waiting import wait_until

# Restarts


def test_a_restarted_server_remembers_before_anybody_tells_it(trio: Cluster) -> None:
    """P1, E1: alone after its restart, it still has its term and serves nobody's writes."""
    written = {f"key {number}": f"value {number}" for number in range(30)}
    trio.put_all(written)
    term = trio.settle()[0].term
    trio.kill(*trio.ids)
    trio.start_server(0)
    assert trio.server(0).state().term >= term
    assert not trio.frontend.acknowledges("alone", "no majority", timeout_s=1)
    trio.start_servers([1, 2])
    trio.expect_everywhere(written)
    assert trio.server(0).state().term >= term


def test_each_server_in_turn_is_restarted_and_nothing_is_lost(trio: Cluster) -> None:
    """P1: a rolling restart, with writes between the steps."""
    written: dict[str, str] = {}
    for server in trio.ids:
        trio.kill(server)
        written[f"while {server} was down"] = str(server)
        trio.put_all(written)
        trio.start_server(server)
        trio.expect_everywhere(written)


def test_a_single_server_keeps_its_data(cluster: Cluster) -> None:
    """P1: a cluster of one has nobody to learn from: it all comes from its disk."""
    cluster.start_raft(1)
    written = {f"key {number}": f"value {number}" for number in range(30)}
    for _ in range(3):
        cluster.put_all(written)
        cluster.kill(0)
        cluster.start_server(0)
        assert {key: cluster.get(key) for key in written} == written
        written[f"key {len(written)}"] = "one more"


def test_odd_keys_and_values_survive_a_full_restart(trio: Cluster) -> None:
    """I1, P1: exactly as they were written, on every server."""
    written = {value: f"{value} of {name}" for name, value in ODD_STRINGS.items()}
    written |= {"empty value": "", "large value": "é\n\0" * 100_000}
    trio.put_all(written)
    trio.kill(*trio.ids)
    trio.start_servers(trio.ids)
    trio.expect_everywhere(written)


def test_a_retry_after_a_full_restart_is_applied_once(trio: Cluster) -> None:
    """C1, P8: what the servers know of retries survives as the data do."""
    trio.put("key", "first", client=3, request=1)
    trio.put("key", "second", client=3, request=2)
    trio.kill(*trio.ids)
    trio.start_servers(trio.ids)
    trio.put("key", "first", client=3, request=1)
    assert trio.get("key") == "second"


def test_a_cluster_that_was_stopped_in_order_starts_again_with_all_its_data(
    trio: Cluster,
) -> None:
    """F4, P1: the frontend ends with its servers; the next one starts them from their disks."""
    written = {f"key {number}": f"value {number}" for number in range(30)}
    trio.put_all(written)
    for _ in range(2):
        trio.stop_frontend(signal.SIGTERM)
        trio.start_frontend()
        trio.start_servers(trio.ids)
        assert {key: trio.get(key) for key in written} == written
        written[f"key {len(written)}"] = "one more"
        trio.put_all(written)
    trio.expect_everywhere(written)


def test_killing_every_server_under_load_loses_no_acknowledged_write(trio: Cluster) -> None:
    """P1: again and again, all at the same moment, while clients write."""
    with Load("load") as load:
        for _ in range(4):
            load.wait_for_more(40)
            trio.kill(*trio.ids)
            trio.start_servers(trio.ids)
        load.wait_for_more(40)
    trio.expect_everywhere(load.acknowledged)
    trio.kill(*trio.ids)
    trio.start_servers(trio.ids)
    trio.expect_everywhere(load.acknowledged)


def test_killing_servers_and_frontend_under_load_loses_no_acknowledged_write(
    trio: Cluster,
) -> None:
    """P1, F4: the whole machine's worth of processes dies; a new frontend starts what was there."""
    with Load("load") as load:
        for _ in range(2):
            load.wait_for_more(40)
            trio.stop_frontend(signal.SIGKILL)
            trio.kill(*trio.ids)
            trio.start_frontend()
            trio.start_servers(trio.ids)
        load.wait_for_more(40)
    trio.expect_everywhere(load.acknowledged)


# Partition and healing


def test_a_follower_that_was_cut_off_catches_up_when_it_is_back(trio: Cluster) -> None:
    """E7, R7: it stood still, with its connections open, while the others wrote on."""
    follower = trio.followers()[0]
    written = {"before": "the partition"}
    trio.put_all(written)
    trio.pause(follower)
    written |= {f"key {number}": f"value {number}" for number in range(100)}
    trio.put_all(written)
    trio.resume(follower)
    trio.put("after", "the healing")
    trio.expect_everywhere(written | {"after": "the healing"})


def test_a_majority_that_was_cut_off_heals_without_loss_and_without_restart(
    cluster: Cluster,
) -> None:
    """C2, L1: nothing is acknowledged meanwhile, and afterwards all servers are equal."""
    cluster.start_raft(5)
    written = {f"key {number}": f"value {number}" for number in range(20)}
    cluster.put_all(written)
    pids = cluster.pids()
    stopped = [cluster.leader(), *cluster.followers()[:2]]
    cluster.pause(*stopped)
    assert not cluster.frontend.acknowledges("unknown", "written", timeout_s=1)
    cluster.resume(*stopped)
    cluster.put("after", "the healing")
    cluster.expect_everywhere(written | {"after": "the healing"})
    assert len({cluster.server(server).get("unknown") for server in cluster.ids}) == 1
    assert cluster.pids() == pids


def test_a_server_that_is_killed_while_cut_off_catches_up(trio: Cluster) -> None:
    """P1, R7: from stopped to dead to restarted."""
    follower = trio.followers()[0]
    trio.pause(follower)
    written = {f"key {number}": f"value {number}" for number in range(30)}
    trio.put_all(written)
    trio.kill(follower)
    trio.start_server(follower)
    trio.expect_everywhere(written)


# The state files


def test_state_files_are_valid_json_at_every_instant(trio: Cluster) -> None:
    """P1, P7: read over and over while clients write and leaders fall."""
    files = [trio.state_directory / f"server_{server}.json" for server in trio.ids]
    with StateWatch(files) as watch, Load("load") as load:
        for _ in range(3):
            load.wait_for_more(30)
            leader = trio.leader()
            trio.kill(leader)
            load.wait_for_more(10)
            trio.start_server(leader)
    assert watch.trouble == []
    assert watch.looks > 100
    trio.expect_everywhere(load.acknowledged)


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"term": 1', b"null", b"\0" * 64],
    ids=["empty", "cut off", "null", "zeros"],
)
def test_a_damaged_state_file_never_makes_a_fresh_server(trio: Cluster, damage: bytes) -> None:
    """P7: it is refused with an error, or recovered with all that it knew; the others serve on."""
    written = {f"key {number}": f"value {number}" for number in range(10)}
    trio.put_all(written)
    trio.settle()
    server = trio.followers()[0]
    term = trio.server(server).state().term
    trio.kill(server)
    (trio.state_directory / f"server_{server}.json").write_bytes(damage)
    reply = trio.frontend.start_server(server)
    if reply.ok:
        assert trio.server(server).state().term >= term
        trio.expect_everywhere(written)
    else:
        assert reply.error and not reply.wrong_leader, reply
        wait_until("the refused server has ended", lambda: server not in trio.pids())
    trio.put("after", "the damage")
    trio.start_raft(3)
    trio.expect_everywhere({"after": ""})


def test_start_raft_erases_the_old_cluster_and_nothing_else(cluster: Cluster) -> None:
    """Contract 2 and 3: state files of the old cluster go, whatever else is there stays."""
    cluster.start_raft(5)
    cluster.put("old", "data")
    strangers = {
        "notes.txt": "mine",
        "server_notes.json": "{}",
        "backup.json": "[]",
        "backup/server_0.json": '{"mine": true}',
        "my_server_0.json": "{}",
    }
    for name, text in strangers.items():
        file = cluster.state_directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    beside = cluster.directory / "server_0.json"
    beside.write_text("mine too")

    cluster.start_raft(3)
    for server in range(5):
        exists = (cluster.state_directory / f"server_{server}.json").exists()
        assert exists == (server < 3), server
    assert {name: (cluster.state_directory / name).read_text() for name in strangers} == strangers
    assert beside.read_text() == "mine too"
    cluster.expect_everywhere({"old": ""})

    cluster.kill(*cluster.ids)
    cluster.start_servers(cluster.ids)
    cluster.expect_everywhere({"old": ""})


def test_start_raft_erases_what_a_stopped_cluster_left(trio: Cluster) -> None:
    """F1: the old servers are dead and their frontend is gone; their data do not come back."""
    trio.put("old", "data")
    trio.kill(*trio.ids)
    trio.stop_frontend(signal.SIGKILL)
    trio.start_frontend()
    trio.start_raft(3)
    trio.expect_everywhere({"old": ""})


class StateWatch:
    """Reads files without a pause while its block runs, and notes each time one is no JSON."""

    def __init__(self, files: list[Path]) -> None:
        self.trouble: list[str] = []
        self.looks = 0
        self._files = files
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> StateWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.0005):
            for file in self._files:
                self.looks += 1
                try:
                    json.loads(file.read_bytes())
                except (OSError, ValueError) as error:
                    self.trouble.append(f"{file.name}: {error}")
