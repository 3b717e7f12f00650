"""Where clusters are made, one after the other, and where they end."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from cluster import Cluster
from configuration import free_base_port, write_configuration
from implementation import Implementation


class Workshop:
    """Hands out clusters, one at a time, since there is one frontend port.

    The usual one is shared: the next test finds its frontend running and asks for a fresh cluster.
    """

    def __init__(self, root: Path, implementation: Implementation) -> None:
        self.implementation = implementation
        self._root = root
        self._count = 0
        self._shared = False
        self.current: Cluster | None = None
        """What runs now, if anything does."""
        self.kept: list[Path] = []
        """Directories of failed tests, which stay."""

    def shared(self) -> Cluster:
        """The usual cluster, its frontend running."""
        if self.current is None or not self._shared:
            self.private({})
            self._shared = True
        cluster = self.current
        assert cluster is not None
        if not cluster.frontend_runs():
            cluster.start_frontend()
        return cluster

    def private(self, settings: Mapping[str, str | None]) -> Cluster:
        """A cluster in a new directory with these settings; its frontend is not started."""
        self.put_away(keep=False)
        base_port = int(settings.get("base_port") or free_base_port())
        directory = self.new_directory()
        write_configuration(directory, {"base_port": str(base_port), **settings})
        state_directory = settings.get("persistent_state_path") or "memory"
        if state_directory == "memory":
            state_directory = "raft_state"
        self.current = Cluster(directory, self.implementation, base_port, state_directory)
        self._shared = False
        return self.current

    def new_directory(self) -> Path:
        """An empty directory."""
        self._count += 1
        directory = self._root / str(self._count)
        directory.mkdir()
        return directory

    def put_away(self, keep: bool) -> None:
        """Ends the current cluster; its directory stays when a test failed in it."""
        if self.current is None:
            return
        cluster, self.current = self.current, None
        cluster.close()
        if keep:
            self.kept.append(cluster.directory)
        else:
            shutil.rmtree(cluster.directory)

    def close(self) -> None:
        """Ends everything and removes what no failure needs."""
        self.put_away(keep=False)
        if not self.kept:
            shutil.rmtree(self._root)
