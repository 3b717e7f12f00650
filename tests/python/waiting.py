"""Waiting for conditions, always with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE_S = 15.0
"""How long anything may take before it counts as not happening. Generous: no test is about speed."""

_POLL_S = 0.02

T = TypeVar("T")


def wait_until(what: str, condition: Callable[[], T | None], timeout_s: float = DEADLINE_S) -> T:
    """Polls until `condition` returns something else than None or False, and returns that.

    Fails the test after `timeout_s`, naming `what` was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result is not None and result is not False:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(_POLL_S)
