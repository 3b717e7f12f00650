"""One cluster under test: a frontend, its servers, and the directory they run in."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from clients import FrontEndClient, ServerClient, State, open_channel
from configuration import FRONTEND_PORT, frontend_port_trouble
from implementation import Implementation
from processes import MARKER, is_alive, look_at, our_processes, send, server_pids
from reaper import kill_all
from waiting import DEADLINE_S, wait_until

_TAIL_LINES = 40


class Cluster:
    """Owns everything that runs in `directory`, which must be this cluster's alone."""

    def __init__(
        self,
        directory: Path,
        implementation: Implementation,
        base_port: int,
        state_directory: str = "raft_state",
    ) -> None:
        self.directory = directory
        self.base_port = base_port
        self.state_directory = directory / state_directory
        self.size = 0
        """Servers of the last StartRaft; 0 before it."""
        self._implementation = implementation
        self._frontend_process: subprocess.Popen[bytes] | None = None
        self._frontend_client: FrontEndClient | None = None
        self._server_clients: dict[int, ServerClient] = {}

    # The frontend

    @property
    def frontend(self) -> FrontEndClient:
        """A client of the running frontend."""
        assert self._frontend_client is not None, "no frontend was started"
        return self._frontend_client

    @property
    def frontend_pid(self) -> int:
        """The pid of the running frontend."""
        assert self._frontend_process is not None, "no frontend was started"
        return self._frontend_process.pid

    def frontend_runs(self) -> bool:
        """Whether the frontend that was started last is alive."""
        return self._frontend_process is not None and self._frontend_process.poll() is None

    def start_frontend(self) -> None:
        """Starts a frontend in the directory and waits until it serves."""
        trouble = frontend_port_trouble()
        assert trouble is None, trouble
        process = self.spawn_frontend()
        self._frontend_process = process
        self._frontend_client = FrontEndClient(f"127.0.0.1:{FRONTEND_PORT}")

        def serves() -> bool:
            assert process.poll() is None, f"the frontend ended:\n{self.frontend_output()}"
            with open_channel(f"127.0.0.1:{FRONTEND_PORT}") as channel:
                try:
                    grpc.channel_ready_future(channel).result(timeout=0.5)
                except grpc.FutureTimeoutError:
                    return False
            return True

        wait_until(f"the frontend serves on port {FRONTEND_PORT}", serves)

    def spawn_frontend(self) -> subprocess.Popen[bytes]:
        """Runs the frontend's command, and only that; its output goes to frontend.log."""
        with open(self._frontend_log, "ab") as log:
            return subprocess.Popen(
                self._implementation.frontend,
                cwd=self.directory,
                env={
                    **os.environ,
                    **self._implementation.environment,
                    MARKER: str(self.directory),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for the suite, which then ends the frontend in order.
                start_new_session=True,
            )

    def stop_frontend(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Signals the frontend and waits until it has ended."""
        if self._frontend_client is not None:
            self._frontend_client.close()
            self._frontend_client = None
        process = self._frontend_process
        if process is not None and process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(timeout=DEADLINE_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"the frontend lives on after {how.name}") from None

    def frontend_output(self) -> str:
        """What every frontend in this directory printed so far."""
        if not self._frontend_log.exists():
            return ""
        return self._frontend_log.read_text(encoding="utf-8", errors="replace")

    @property
    def _frontend_log(self) -> Path:
        return self.directory / "frontend.log"

    # The cluster

    @property
    def ids(self) -> range:
        """The ids of the cluster's servers."""
        return range(self.size)

    def start_raft(self, size: int) -> None:
        """A fresh cluster of `size` servers, with a leader."""
        self._forget_connections()
        reply = self.frontend.start_raft(size)
        assert reply.ok, f"StartRaft({size}) answered {reply}"
        self.size = size

    def start_server(self, server: int) -> None:
        """Starts one server with the state it left on disk; it answers afterwards."""
        reply = self.frontend.start_server(server)
        assert reply.ok, f"StartServer({server}) answered {reply}"
        self.server(server).ping()

    def start_servers(self, servers: Iterable[int]) -> None:
        """Starts several servers at the same time."""
        ids = list(servers)
        with ThreadPoolExecutor(len(ids)) as threads:
            list(threads.map(self.start_server, ids))

    def server(self, server: int) -> ServerClient:
        """A client of server `server`."""
        client = self._server_clients.get(server)
        if client is None:
            client = ServerClient(f"127.0.0.1:{self.port(server)}")
            self._server_clients[server] = client
        return client

    def port(self, server: int) -> int:
        """The TCP port of the server."""
        return self.base_port + server

    # Processes

    def pids(self) -> dict[int, list[int]]:
        """The pids of the living servers, by server id."""
        return server_pids(self.directory)

    def pid(self, server: int) -> int:
        """The pid of a server that runs, as exactly one process."""
        pids = self.pids().get(server, [])
        assert len(pids) == 1, f"server {server} runs as {len(pids)} processes: {pids}"
        return pids[0]

    def kill(self, *servers: int) -> None:
        """SIGKILL, at the same time, and waits until they are gone."""
        pids = [self.pid(server) for server in servers]
        for pid in pids:
            send(pid, signal.SIGKILL)
        wait_until(f"servers {servers} are gone", lambda: not any(map(is_alive, pids)))
        for server in servers:
            self._forget_connection(server)

    def pause(self, *servers: int) -> None:
        """SIGSTOP: the server keeps its connections and answers nothing."""
        for server in servers:
            pid = self.pid(server)
            send(pid, signal.SIGSTOP)

            def stopped(pid: int = pid) -> bool:
                process = look_at(pid)
                return process is not None and process.state == "T"

            wait_until(f"server {server} stands still", stopped)

    def resume(self, *servers: int) -> None:
        """SIGCONT."""
        for server in servers:
            send(self.pid(server), signal.SIGCONT)

    def resume_all(self) -> None:
        """SIGCONT to whatever stands still."""
        for process in our_processes(self.directory):
            if process.state == "T":
                send(process.pid, signal.SIGCONT)

    # What the servers say

    def states(self, among: Iterable[int] | None = None) -> dict[int, State]:
        """The states of the servers that answer."""
        ids = self.ids if among is None else among
        found = {server: self.server(server).state_if_reachable() for server in ids}
        return {server: state for server, state in found.items() if state is not None}

    def leader(self, among: Iterable[int] | None = None) -> int:
        """Waits until exactly one of the servers says that it leads; its id."""
        ids = list(self.ids if among is None else among)

        def only_leader() -> int | None:
            leaders = [server for server, state in self.states(ids).items() if state.is_leader]
            return leaders[0] if len(leaders) == 1 else None

        return wait_until(f"one leader among {ids}", only_leader)

    def followers(self) -> list[int]:
        """Everyone but the leader."""
        leader = self.leader()
        return [server for server in self.ids if server != leader]

    # Writing and reading

    def put(self, key: str, value: str, client: int = 0, request: int = 0) -> None:
        """Writes through the frontend; the write is acknowledged."""
        reply = self.frontend.put(key, value, client, request)
        assert reply.ok, f"Put({key[:40]!r}) answered {reply}"

    def put_all(self, pairs: Mapping[str, str]) -> None:
        """Writes each pair through the frontend, one after the other."""
        for key, value in pairs.items():
            self.put(key, value)

    def get(self, key: str) -> str:
        """Reads through the frontend."""
        reply = self.frontend.get(key)
        assert reply.ok, f"Get({key[:40]!r}) answered {reply}"
        return reply.value

    def put_on_leader(self, key: str, value: str, client: int = 0, request: int = 0) -> int:
        """Writes on the leader itself, without a frontend, and gives its id."""

        def accepted() -> int | None:
            leader = self.leader()
            try:
                done = self.server(leader).put(key, value, client, request)
            except grpc.RpcError:
                return None
            return leader if done.success else None

        return wait_until(f"a leader accepts {key[:40]!r}", accepted)

    def expect_everywhere(
        self, pairs: Mapping[str, str], among: Iterable[int] | None = None
    ) -> None:
        """Waits until every server has applied the same log, and all of `pairs`.

        A cluster that has just started agrees on having applied nothing yet, before it has applied all.
        """
        ids = list(self.ids if among is None else among)
        self.settle(ids)
        for server in ids:
            wait_until(f"server {server} has all pairs", lambda: not self.differing(server, pairs))

    def settle(self, among: Iterable[int] | None = None) -> dict[int, State]:
        """Waits until all servers are in one term, with one leader, and have applied all."""
        ids = list(self.ids if among is None else among)

        def settled() -> dict[int, State] | None:
            states = self.states(ids)
            if len(states) < len(ids) or sum(s.is_leader for s in states.values()) != 1:
                return None
            same = {(s.term, s.commit_index, s.last_applied) for s in states.values()}
            done = len(same) == 1 and all(s.commit_index == s.last_applied for s in states.values())
            return states if done else None

        return wait_until(f"servers {ids} agree", settled)

    def expect_on(self, server: int, pairs: Mapping[str, str]) -> None:
        """Compares what one server has applied with `pairs`."""
        wrong = self.differing(server, pairs)
        shown = {key: (pairs[key][:40], found[:40]) for key, found in list(wrong.items())[:5]}
        assert not wrong, f"server {server}: {len(wrong)} of {len(pairs)} keys differ: {shown}"

    def differing(self, server: int, pairs: Mapping[str, str]) -> dict[str, str]:
        """What one server has applied where that is not what `pairs` says."""
        client = self.server(server)
        return {key: found for key in pairs if (found := client.get(key)) != pairs[key]}

    # The end

    def close(self) -> None:
        """Ends every process of the cluster, however it is."""
        self.resume_all()
        try:
            self.stop_frontend()
        except AssertionError:
            self.stop_frontend(signal.SIGKILL)
        finally:
            kill_all(self.directory)
            self._forget_connections()

    def logs(self) -> str:
        """The last lines of what the frontend and the servers printed."""
        files = [self._frontend_log, *sorted(self.state_directory.glob("server_*.log"))]
        return "\n".join(_tail(file) for file in files if file.exists())

    def _forget_connection(self, server: int) -> None:
        client = self._server_clients.pop(server, None)
        if client is not None:
            client.close()

    def _forget_connections(self) -> None:
        for server in list(self._server_clients):
            self._forget_connection(server)


def _tail(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join([f"--- {file.name}, the last {len(lines)} lines", *lines])
