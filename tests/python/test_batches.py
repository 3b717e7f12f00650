"""Batches of writes, by a client that has its own idea of how they are encoded.

Each docstring begins with the line of the correctness rules that the test covers. What the original
contract does not name is asked for with the numbers of raft.proto.
"""

from __future__ import annotations

from clients import messages, send_raw
from cluster import Cluster
from odd_strings import ODD_STRINGS


def test_all_writes_of_a_batch_take_effect_in_their_order(trio: Cluster) -> None:
    """I1: whatever the keys and values are, on every server; of two to one key the later one."""
    pairs = [(text, f"{text} of {what}") for what, text in ODD_STRINGS.items()]
    assert trio.frontend.put_many([("twice", "first"), *pairs, ("twice", "second")]).ok
    trio.expect_everywhere({**dict(pairs), "twice": "second"})


def test_a_batch_is_recognised_when_it_is_sent_again(trio: Cluster) -> None:
    """C1: the same pair with the same writes is applied once, also after every server was killed."""
    batch = [("a", "1"), ("b", "1")]
    assert trio.frontend.put_many(batch, client=7, request=1).ok
    trio.put("a", "later")
    assert trio.frontend.put_many(batch, client=7, request=1).ok
    trio.kill(*trio.ids)
    for server in trio.ids:
        trio.start_server(server)
    assert trio.frontend.put_many(batch, client=7, request=1).ok
    trio.expect_everywhere({"a": "later", "b": "1"})
    # Another order is another batch.
    assert trio.frontend.put_many(batch[::-1], client=7, request=1).ok
    trio.expect_everywhere({"a": "1", "b": "1"})


def test_a_batch_that_cannot_be_served_is_refused_as_a_whole(trio: Cluster) -> None:
    """I2: a clear error, not a missing leader, and none of its writes is done."""
    good = ("good", "value")
    for wrong in ([], [good, ("", "no key")], [good, ("k" * 4097, "v")], [good] * 4097):
        reply = trio.frontend.put_many(wrong)
        assert (reply.wrong_leader, reply.error != "") == (False, True)
    malformed = send_raw(f"127.0.0.1:{trio.port(trio.leader())}", "/raft.KeyValueStore/PutMany", b"\x0a\x01\x0a")
    assert not messages.GenericResponse.FromString(malformed).success
    assert trio.frontend.get("good").value == ""
    trio.expect_everywhere({})
