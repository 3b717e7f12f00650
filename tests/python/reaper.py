"""Ends what a test session leaves behind when it is itself killed.

Run as `python reaper.py DIRECTORY` with a pipe as standard input: the pipe ends when the session
does, however it ends, and then the processes of this suite below DIRECTORY are killed.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from processes import our_processes, send

_ROUNDS = 50
_ROUND_S = 0.1


def kill_all(directory: Path) -> None:
    """Kills until nothing is left: a frontend may start another server while we look."""
    for _ in range(_ROUNDS):
        found = our_processes(directory)
        if not found:
            return
        for process in found:
            send(process.pid, signal.SIGKILL)
        time.sleep(_ROUND_S)


if __name__ == "__main__":
    # Ctrl-C reaches the whole terminal: the session tidies up first, then we look.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.read()
    kill_all(Path(sys.argv[1]))
