"""Writers that keep a cluster busy and remember what was acknowledged to them."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from clients import FrontEndClient
from configuration import FRONTEND_PORT
from waiting import DEADLINE_S, wait_until

_WRITE_TIMEOUT_S = 5.0
_PAUSE_S = 0.005


class Load:
    """Writes keys that are never written twice, from several threads, while its block runs.

    A write that was not acknowledged is never repeated: it may be there afterwards or not.
    """

    def __init__(self, name: str, writers: int = 3) -> None:
        self._name = name
        self._acknowledged: dict[str, str] = {}
        self._stop = threading.Event()
        self._frontend = FrontEndClient(f"127.0.0.1:{FRONTEND_PORT}")
        self._threads = [
            threading.Thread(target=self._write, args=(writer,), daemon=True)
            for writer in range(writers)
        ]

    @property
    def acknowledged(self) -> dict[str, str]:
        """What must be there from now on."""
        return self._acknowledged.copy()

    def wait_for_more(self, writes: int) -> None:
        """Waits until so many more writes are acknowledged than now."""
        target = len(self._acknowledged) + writes
        wait_until(
            f"{writes} more writes are acknowledged",
            lambda: len(self._acknowledged) >= target,
        )

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=_WRITE_TIMEOUT_S + DEADLINE_S)
        self._frontend.close()

    def _write(self, writer: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"{self._name}-{writer}-{number}"
            if self._frontend.acknowledges(key, f"value of {key}", timeout_s=_WRITE_TIMEOUT_S):
                self._acknowledged[key] = f"value of {key}"
            # Not to wait for anything: a pause keeps the amount of data small.
            time.sleep(_PAUSE_S)
