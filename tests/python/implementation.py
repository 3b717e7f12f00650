"""The implementation under test: how its frontend is started."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_REPOSITORY = _HERE.parent.parent

COMMANDS_VARIABLE = "RAFTKV_COMMANDS"
"""Names a JSON file like commands.json; unset, commands.json itself is used."""


@dataclass(frozen=True)
class Implementation:
    """The command that runs a frontend in the working directory, and what it adds to the environment."""

    frontend: tuple[str, ...]
    environment: Mapping[str, str]

    def missing(self) -> str | None:
        """Says what to do when the executable does not exist; None when it does."""
        executable = Path(self.frontend[0])
        if not executable.is_absolute() or os.access(executable, os.X_OK):
            return None
        return (
            f"{executable} does not exist: build it first (make build), "
            f"or name another implementation in {COMMANDS_VARIABLE}"
        )


def load_implementation() -> Implementation:
    """Reads the commands; `{repo}` in them stands for the root of this repository."""
    source = Path(os.environ.get(COMMANDS_VARIABLE) or _HERE / "commands.json")
    commands = json.loads(source.read_text(encoding="utf-8"))
    return Implementation(
        frontend=tuple(_expand(word) for word in commands["frontend"]),
        environment={name: _expand(value) for name, value in commands.get("env", {}).items()},
    )


def _expand(text: str) -> str:
    return text.replace("{repo}", str(_REPOSITORY))
