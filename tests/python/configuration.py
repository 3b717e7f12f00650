"""config.ini, and which ports are free for it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from processes import listeners, look_at

FRONTEND_PORT = 8001
DEFAULT_BASE_PORT = 9001

_GLOBAL_KEYS = frozenset({"base_address"})
_DEFAULTS: Mapping[str, str] = {
    "base_address": "127.0.0.1",
    "base_port": str(DEFAULT_BASE_PORT),
    "base_source_port": "7001",
    "max_workers": "10",
    "persistent_state_path": "raft_state",
    "active": "0,1,2,3,4",
}

_SPAN = 10
# Below the ports that the system hands out to outgoing connections, and above those that the other suite takes.
_CANDIDATES = range(31_001, 32_700, _SPAN)


def write_configuration(directory: Path, values: Mapping[str, str | None]) -> None:
    """Writes config.ini: the defaults, changed by `values`; a key that is None is left out."""
    sections: dict[str, list[str]] = {"Global": [], "Servers": []}
    for key, value in {**_DEFAULTS, **values}.items():
        if value is not None:
            section = "Global" if key in _GLOBAL_KEYS else "Servers"
            sections[section].append(f"{key} = {value}")
    text = "\n\n".join("\n".join([f"[{name}]", *lines]) for name, lines in sections.items())
    (directory / "config.ini").write_text(text + "\n", encoding="utf-8")


def is_free(port: int) -> bool:
    """Whether nobody listens on the port, on IPv4 or IPv6."""
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((host, port))
        except OSError:
            if family == socket.AF_INET or has_ipv6():
                return False
    return True


def free_base_port() -> int:
    """The first of ten neighbouring ports that are all free."""
    for base in _CANDIDATES:
        if all(is_free(port) for port in range(base, base + _SPAN)):
            return base
    raise RuntimeError(f"no {_SPAN} neighbouring ports are free in {_CANDIDATES}")


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def frontend_port_trouble() -> str | None:
    """Who sits on the frontend's port, and what to do about it; None when it is free."""
    if is_free(FRONTEND_PORT):
        return None
    found = [look_at(pid) for pid in listeners(FRONTEND_PORT)]
    owners = "; ".join(f"pid {p.pid}: {p.command_line[:80]!r}" for p in found if p is not None)
    return (
        f"port {FRONTEND_PORT}, fixed for the frontend by the contract, is taken "
        f"({owners or 'owner unknown'}): end that process, then run the suite again"
    )
