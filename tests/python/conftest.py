"""The gRPC suite: what any implementation of the contract must do, seen from outside.

It knows contract.proto (the original contract, compiled at run time), ports, process names and
files, and nothing about how the system is built. Run it from the root of the repository:

    python3 -m pytest tests/python -q

It starts the frontend itself, in a temporary directory with a config.ini of its own. Port 8001 is
fixed for the frontend and must be free; the servers get other ports than usual wherever the
contract allows. Processes are ended by pid, and none is left behind, even when pytest is killed.
A failing test shows the last lines of all logs, and its directory is kept.

Another implementation
----------------------
The environment variable RAFTKV_COMMANDS names a JSON file like commands.json:

    {"frontend": ["/path/to/binary", "--mode", "frontend"], "env": {"NAME": "value"}}

`frontend` is run in the directory that holds config.ini and must become the frontend itself, not
a shell that waits for it: signals go to its pid. `env` is added to its environment. `{repo}` in
either stands for the root of this repository.
"""

from __future__ import annotations

import os

# Before gRPC is loaded: it must neither hook into starting processes nor log lost connections.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from cluster import Cluster
from configuration import frontend_port_trouble
from implementation import load_implementation
from workshop import Workshop

_HERE = Path(__file__).resolve().parent
_FAILED = pytest.StashKey[bool]()
_WORKSHOP = pytest.StashKey[Workshop]()


@pytest.fixture(scope="session")
def workshop(pytestconfig: pytest.Config) -> Iterator[Workshop]:
    """The session's clusters, watched over by a reaper that outlives us."""
    root = Path(tempfile.mkdtemp(prefix="raftkv-suite-")).resolve()
    reaper = subprocess.Popen(
        [sys.executable, str(_HERE / "reaper.py"), str(root)], stdin=subprocess.PIPE, cwd="/"
    )
    workshop = Workshop(root, load_implementation())
    pytestconfig.stash[_WORKSHOP] = workshop
    try:
        yield workshop
    finally:
        workshop.close()
        assert reaper.stdin is not None
        reaper.stdin.close()
        reaper.wait()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, workshop: Workshop) -> Iterator[Cluster]:
    """The shared frontend, with whatever cluster the test before left: call start_raft."""
    cluster = workshop.shared()
    yield cluster
    cluster.resume_all()
    if request.node.stash.get(_FAILED, False):
        workshop.put_away(keep=True)


@pytest.fixture
def trio(cluster: Cluster) -> Cluster:
    """A fresh cluster of three servers with a leader."""
    cluster.start_raft(3)
    return cluster


@pytest.fixture
def new_cluster(
    request: pytest.FixtureRequest, workshop: Workshop
) -> Iterator[Callable[..., Cluster]]:
    """Makes the test's own cluster in an empty directory, its frontend not yet started.

    Keyword arguments are settings of config.ini; None leaves a key out.
    """

    def make(**settings: str | None) -> Cluster:
        return workshop.private(settings)

    yield make
    workshop.put_away(keep=request.node.stash.get(_FAILED, False))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Says at once what would make every test fail."""
    if session.config.option.collectonly:
        return
    # A terminated session ends its processes in order, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=1))
    trouble = load_implementation().missing() or frontend_port_trouble()
    if trouble is not None:
        pytest.exit(trouble, returncode=1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says where a failure can be looked into."""
    workshop = terminalreporter.config.stash.get(_WORKSHOP, None)
    if workshop is not None and workshop.kept:
        kept = ", ".join(str(directory) for directory in workshop.kept)
        terminalreporter.write_line(f"directories of failed tests: {kept}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the logs to a failing test's report."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
        workshop = item.config.stash.get(_WORKSHOP, None)
        if workshop is not None and workshop.current is not None:
            cluster = workshop.current
            report.sections.append((f"logs in {cluster.directory}", cluster.logs()))
    return report
