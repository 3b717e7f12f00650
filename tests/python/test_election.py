"""Election, and the Raft calls that anyone may make by hand.

Each docstring begins with the line of the correctness rules that the test covers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import grpc

from clients import Entry
from cluster import Cluster
from waiting import wait_until


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
