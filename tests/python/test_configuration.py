"""Configuration: what config.ini says, and what happens when it is wrong.

Each docstring begins with the line of the correctness rules that the test covers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import Cluster
from configuration import DEFAULT_BASE_PORT, FRONTEND_PORT, is_free
from waiting import DEADLINE_S

NewCluster = Callable[..., Cluster]


def test_a_missing_config_file_means_the_defaults(new_cluster: NewCluster) -> None:
    """Contract 3: without a config.ini the servers are at port 9001 and up."""
    taken = [port for port in range(DEFAULT_BASE_PORT, DEFAULT_BASE_PORT + 3) if not is_free(port)]
    if taken:
        pytest.skip(f"the default ports {taken} are in use on this machine")
    cluster = new_cluster(base_port=str(DEFAULT_BASE_PORT))
    (cluster.directory / "config.ini").unlink()
    cluster.start_frontend()
    cluster.start_raft(3)
    cluster.put("where", "at the default ports")
    cluster.expect_everywhere({"where": "at the default ports"})


@pytest.mark.parametrize("path", ["memory", "kept/here"])
def test_the_state_is_kept_where_config_says_and_active_limits_nothing(
    new_cluster: NewCluster, path: str
) -> None:
    """Contract 3: `memory`, found in older files, means raft_state; `active` limits no cluster."""
    cluster = new_cluster(persistent_state_path=path, active="0")
    cluster.start_frontend()
    cluster.start_raft(3)
    for server in cluster.ids:
        assert (cluster.state_directory / f"server_{server}.json").is_file()
    cluster.put("kept", "yes")
    cluster.kill(*cluster.ids)
    cluster.start_servers(cluster.ids)
    assert cluster.get("kept") == "yes"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("Global", "base_address", "not an address"),
        ("Servers", "base_port", "0"),
        ("Servers", "base_port", "70000"),
        ("Servers", "base_port", "port"),
        ("Servers", "base_port", str(FRONTEND_PORT)),
        ("Servers", "active", "0,1,1"),
        ("Servers", "active", "0,x"),
        ("Servers", "max_workers", "many"),
        ("Servers", "base_source_port", "-1"),
    ],
)
def test_a_bad_config_value_stops_the_frontend_with_one_line(
    new_cluster: NewCluster, section: str, key: str, value: str
) -> None:
    """Contract 3: the line names the file, the section, the key and the value."""
    cluster = new_cluster()
    _change_setting(cluster.directory / "config.ini", key, value)
    line = _only_line_of_a_frontend_that_refuses(cluster)
    for part in ("config.ini", section, key, value):
        assert part in line


@pytest.mark.parametrize(
    ("section", "key"), [("Global", "base_address"), ("Servers", "max_workers")]
)
def test_a_missing_config_key_stops_the_frontend_with_one_line(
    new_cluster: NewCluster, section: str, key: str
) -> None:
    """Contract 3: all six keys are present, or the line names the missing one."""
    cluster = new_cluster(**{key: None})
    line = _only_line_of_a_frontend_that_refuses(cluster)
    for part in ("config.ini", section, key):
        assert part in line


def test_a_second_frontend_is_refused_and_the_first_serves_on(trio: Cluster) -> None:
    """F2: a port in use is a clear error and a non-zero exit."""
    pids = trio.pids()
    before = len(trio.frontend_output())
    second = trio.spawn_frontend()
    code = second.wait(timeout=DEADLINE_S)
    assert code != 0
    assert str(FRONTEND_PORT) in trio.frontend_output()[before:]
    assert trio.pids() == pids
    trio.put("first", "serves on")


def _change_setting(file: Path, key: str, value: str) -> None:
    lines = file.read_text().splitlines()
    changed = [f"{key} = {value}" if line.startswith(f"{key} ") else line for line in lines]
    assert changed != lines
    file.write_text("\n".join(changed) + "\n")


def _only_line_of_a_frontend_that_refuses(cluster: Cluster) -> str:
    process = cluster.spawn_frontend()
    try:
        code = process.wait(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert code != 0
    lines = [line for line in cluster.frontend_output().splitlines() if line.strip()]
    assert len(lines) == 1, lines
    return lines[0]
