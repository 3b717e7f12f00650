"""Clients of the two services, compiled at run time from contract.proto.

Every call has a deadline in seconds and raises grpc.RpcError when it passes or nobody answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import grpc
from google.protobuf.message import Message

messages, services = grpc.protos_and_services("contract.proto")

CALL_TIMEOUT_S = 10.0
START_RAFT_TIMEOUT_S = 20.0
"""StartRaft answers within 15 s by contract; the rest is for a busy machine."""

_CHANNEL_OPTIONS = (
    # A server that comes back is seen at once, and no connection is shared between clients.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
)


class Reply(NamedTuple):
    """An answer of the frontend."""

    wrong_leader: bool
    error: str
    value: str

    @property
    def ok(self) -> bool:
        """The call was served."""
        return not self.wrong_leader and self.error == ""


class State(NamedTuple):
    """What a server says of itself."""

    term: int
    is_leader: bool
    commit_index: int
    last_applied: int


class Outcome(NamedTuple):
    """Whether a server did what it was asked, and if not, why."""

    success: bool
    error: str


class Vote(NamedTuple):
    """An answer to RequestVote."""

    term: int
    granted: bool


class Appended(NamedTuple):
    """An answer to AppendEntries."""

    term: int
    success: bool


class Entry(NamedTuple):
    """One entry of the log, as it travels in AppendEntries."""

    term: int
    key: str
    value: str


def open_channel(address: str) -> grpc.Channel:
    """A channel to `host:port` with a connection of its own."""
    return grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)


class FrontEndClient:
    """A client of the FrontEnd service."""

    def __init__(self, address: str) -> None:
        self._channel = open_channel(address)
        self._stub = services.FrontEndStub(self._channel)

    def start_raft(self, size: int, timeout_s: float = START_RAFT_TIMEOUT_S) -> Reply:
        """Asks for a fresh cluster of `size` servers."""
        return self._reply(self._stub.StartRaft, messages.IntegerArg(arg=size), timeout_s)

    def start_server(self, server: int, timeout_s: float = START_RAFT_TIMEOUT_S) -> Reply:
        """Asks for one server, with the state that it left on disk."""
        return self._reply(self._stub.StartServer, messages.IntegerArg(arg=server), timeout_s)

    def put(
        self,
        key: str,
        value: str,
        client: int = 0,
        request: int = 0,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Reply:
        """Writes; client and request 0: the write has no name."""
        pair = messages.KeyValue(key=key, value=value, clientId=client, requestId=request)
        return self._reply(self._stub.Put, pair, timeout_s)

    def put_many(
        self,
        pairs: Iterable[tuple[str, str]],
        client: int = 0,
        request: int = 0,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Reply:
        """Writes all of them, in their order, or none."""
        return self._extension("PutMany", _batch(pairs, client, request), timeout_s)

    def get(self, key: str, timeout_s: float = CALL_TIMEOUT_S, consistency: int = 0) -> Reply:
        """Reads; consistency 0: as the original contract has it."""
        message = _with_consistency(messages.GetKey(key=key), consistency)
        return self._extension("Get", message, timeout_s)

    def remove_member(self, server: int, timeout_s: float = CALL_TIMEOUT_S) -> Reply:
        """Asks for a server to be taken out of the cluster."""
        argument = messages.IntegerArg(arg=server).SerializeToString()
        return self._extension("RemoveMember", argument, timeout_s)

    def acknowledges(self, key: str, value: str, timeout_s: float = CALL_TIMEOUT_S) -> bool:
        """Writes and says whether the write was acknowledged; False: its outcome is unknown."""
        try:
            return self.put(key, value, timeout_s=timeout_s).ok
        except grpc.RpcError:
            return False

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _extension(self, name: str, argument: bytes, timeout_s: float) -> Reply:
        """What the original contract cannot say: any message, to any RPC that answers with a Reply."""
        method = self._channel.unary_unary(
            f"/raft.FrontEnd/{name}", response_deserializer=messages.Reply.FromString
        )
        return self._reply(method, argument, timeout_s)

    @staticmethod
    def _reply(method: grpc.UnaryUnaryMultiCallable, argument: object, timeout_s: float) -> Reply:
        answer = method(argument, timeout=timeout_s, wait_for_ready=True)
        return Reply(answer.wrongLeader, answer.error, answer.value)


class ServerClient:
    """A client of one server's KeyValueStore service."""

    def __init__(self, address: str) -> None:
        self._channel = open_channel(address)
        self._stub = services.KeyValueStoreStub(self._channel)

    def ping(self, timeout_s: float = CALL_TIMEOUT_S) -> Outcome:
        """Asks whether the server serves."""
        answer = self._stub.ping(messages.Empty(), timeout=timeout_s, wait_for_ready=True)
        return Outcome(answer.success, answer.error)

    def state(self, timeout_s: float = CALL_TIMEOUT_S) -> State:
        """Asks for the server's state."""
        answer = self._stub.GetState(messages.Empty(), timeout=timeout_s, wait_for_ready=True)
        return State(answer.term, answer.isLeader, answer.commitIndex, answer.lastApplied)

    def state_if_reachable(self, timeout_s: float = 0.5) -> State | None:
        """The server's state, or None when it does not answer right away."""
        try:
            answer = self._stub.GetState(messages.Empty(), timeout=timeout_s)
        except grpc.RpcError:
            return None
        return State(answer.term, answer.isLeader, answer.commitIndex, answer.lastApplied)

    def get(self, key: str, timeout_s: float = CALL_TIMEOUT_S, consistency: int = 0) -> str:
        """Reads; consistency 0, as the original contract has it: what this server has applied."""
        method = self._channel.unary_unary(
            "/raft.KeyValueStore/Get", response_deserializer=messages.KeyValue.FromString
        )
        message = _with_consistency(messages.StringArg(arg=key), consistency)
        answer = method(message, timeout=timeout_s, wait_for_ready=True)
        assert answer.key == key, f"asked for {key!r}, answered {answer.key!r}"
        return str(answer.value)

    def put(
        self,
        key: str,
        value: str,
        client: int = 0,
        request: int = 0,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Outcome:
        """Writes, if this server leads."""
        pair = messages.KeyValue(key=key, value=value, clientId=client, requestId=request)
        answer = self._stub.Put(pair, timeout=timeout_s, wait_for_ready=True)
        return Outcome(answer.success, answer.error)

    def request_vote(
        self, term: int, candidate: int, last_log_index: int, last_log_term: int
    ) -> Vote:
        """Asks for a vote, as a candidate would."""
        arguments = messages.RequestVoteArgs(
            term=term,
            candidateId=candidate,
            lastLogIndex=last_log_index,
            lastLogTerm=last_log_term,
        )
        answer = self._stub.RequestVote(arguments, timeout=CALL_TIMEOUT_S, wait_for_ready=True)
        return Vote(answer.term, answer.voteGranted)

    def append_entries(
        self,
        term: int,
        leader: int,
        prev_log_index: int = 0,
        prev_log_term: int = 0,
        entries: Sequence[Entry] = (),
        leader_commit: int = 0,
    ) -> Appended:
        """Sends entries, or with none of them a heartbeat, as a leader would."""
        arguments = messages.AppendEntriesArgs(
            term=term,
            leaderId=leader,
            prevLogIndex=prev_log_index,
            prevLogTerm=prev_log_term,
            entries=[messages.LogEntry(term=e.term, key=e.key, value=e.value) for e in entries],
            leaderCommit=leader_commit,
        )
        answer = self._stub.AppendEntries(arguments, timeout=CALL_TIMEOUT_S, wait_for_ready=True)
        return Appended(answer.term, answer.success)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


def _with_consistency(message: Message, consistency: int) -> bytes:
    """The message with field 16, `consistency`, of which the original contract knows nothing."""
    tag = bytes([16 << 3 & 0x7F | 0x80, 16 << 3 >> 7])
    field = tag + bytes([consistency]) if consistency else b""
    return bytes(message.SerializeToString()) + field


def _batch(pairs: Iterable[tuple[str, str]], client: int, request: int) -> bytes:
    """A PutManyArgs, whose field 1 is a list of messages with a key and a value, as KeyValue has them.

    Its fields 2 and 3 are those of a GetKey: the client's name for its request.
    """
    writes = [messages.KeyValue(key=key, value=value).SerializeToString() for key, value in pairs]
    names = messages.GetKey(clientId=client, requestId=request).SerializeToString()
    return b"".join(b"\x0a" + _varint(len(write)) + write for write in writes) + bytes(names)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def send_raw(address: str, method: str, message: bytes) -> bytes:
    """Calls `/package.Service/Method` with any bytes as the message."""
    with open_channel(address) as channel:
        call = channel.unary_unary(method)
        return bytes(call(message, timeout=CALL_TIMEOUT_S, wait_for_ready=True))
