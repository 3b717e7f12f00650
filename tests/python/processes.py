"""What the operating system says about processes and ports, read from /proc.

A process counts as ours only when its working directory lies in a directory of this suite and it
either carries a server's name or inherited MARKER from us: nothing else is ever signalled.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARKER = "RAFTKV_SUITE_DIRECTORY"
"""Environment variable that this suite sets for what it starts: the session's directory."""

_SERVER_NAME = re.compile(r"raftserver(\d+)")
_LISTENING = "0A"


@dataclass(frozen=True)
class Process:
    """A process as it was when it was looked at."""

    pid: int
    parent: int
    state: str
    command_line: str

    @property
    def alive(self) -> bool:
        """False for a zombie: it has ended, only its parent has not looked yet."""
        return self.state not in ("Z", "X")

    @property
    def server_id(self) -> int | None:
        """The id in a server's name (server 0 is raftserver1); None: not a server."""
        name = _SERVER_NAME.search(self.command_line)
        return int(name.group(1)) - 1 if name else None


def look_at(pid: int) -> Process | None:
    """The process as it is now; None when there is none."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        # The name in parentheses may hold spaces and parentheses: fields count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return Process(pid, int(fields[1]), fields[0], words.replace("\0", " ").strip())


def all_processes() -> Iterator[Process]:
    """Every process of the machine."""
    for entry in os.listdir("/proc"):
        process = look_at(int(entry)) if entry.isdigit() else None
        if process is not None:
            yield process


def our_processes(directory: Path) -> list[Process]:
    """What this suite started, itself or through a frontend, that runs in or below `directory`."""
    return [
        process
        for process in all_processes()
        if process.pid != os.getpid() and process.alive and _is_ours(process, directory)
    ]


def server_pids(directory: Path) -> dict[int, list[int]]:
    """The living servers that run in `directory`: pids by server id."""
    pids: dict[int, list[int]] = {}
    for process in our_processes(directory):
        if process.server_id is not None:
            pids.setdefault(process.server_id, []).append(process.pid)
    return pids


def zombies_of(parent: int) -> list[int]:
    """Children that have ended and that `parent` never reaped."""
    return [p.pid for p in all_processes() if p.parent == parent and not p.alive]


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    process = look_at(pid)
    return process is not None and process.alive


def send(pid: int, number: signal.Signals) -> None:
    """Signals the process; nothing happens when it has just ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def listeners(port: int) -> set[int]:
    """The pids that listen on the TCP port, over IPv4 or IPv6."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return set()
    return {process.pid for process in all_processes() if inodes & _open_files(process.pid)}


def _open_files(pid: int) -> set[str]:
    files: set[str] = set()
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            files.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    except OSError:
        pass  # It ended meanwhile, or belongs to somebody else.
    return files


def _is_ours(process: Process, directory: Path) -> bool:
    try:
        working_directory = Path(os.readlink(f"/proc/{process.pid}/cwd"))
        if working_directory != directory and directory not in working_directory.parents:
            return False
        if process.server_id is not None:
            return True
        return f"{MARKER}=".encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return False
