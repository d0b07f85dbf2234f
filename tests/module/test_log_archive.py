# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs as an operator archives them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from playbook import Playbook


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("Twin", "Memory"):
        (logs / f"{name}.log").write_text(f"{name} works\n" * 500)
    (logs / "Twin.log.1").write_text("Twin begins\n")
    return logs


@pytest.fixture
def play(tmp_path: Path) -> Playbook:
    return Playbook(tmp_path / "play", {"pc2": {}})


def result(play: Playbook, *arguments: str, **options: Any) -> dict[str, Any]:
    ran = play.task("log_archive", options, *arguments)
    assert "pc2" in ran.results, ran.output
    return dict(ran.results["pc2"])


def test_logs_are_looked_at_archived_and_removed(play: Playbook, logs: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    wanted = {"paths": [str(logs)], "archive": str(archive), "compression_level": "high"}
    looked = result(play, "--check", "--diff", **wanted)
    assert looked["changed"] and looked["count"] == 3 and not archive.exists()

    done = result(play, "--diff", **wanted)
    assert done["changed"] and done["diff"] == looked["diff"] and done["size_bytes"] == looked["size_bytes"]
    assert done["diff"]["prepared"].splitlines()[0] == f"+ {logs}/Memory.log: 6500 bytes"
    assert {entry["level"] for entry in done["files"]} == {9} and 0 < done["ratio"] < 0.5
    unpacked = [gzip.decompress(path.read_bytes()) for path in sorted(archive.glob("Twin.log.*"))]
    assert b"".join(unpacked) == b"Twin begins\n" + b"Twin works\n" * 500
    assert not result(play, **wanted)["changed"]

    looked = result(play, "--check", "--diff", **wanted, original="remove")
    assert looked["changed"] and (logs / "Twin.log").exists()
    removed = result(play, "--diff", **wanted, original="remove")
    assert (
        removed["removed"]
        == looked["removed"]
        == [f"{logs}/{name}" for name in ("Memory.log", "Twin.log.1", "Twin.log")]
    )
    assert list(logs.iterdir()) == []


def test_one_log_that_fails_does_not_stop_the_others(play: Playbook, logs: Path, tmp_path: Path) -> None:
    (logs / "Memory.log.2.gz").write_bytes(b"\x1f\x8b no gzip")
    wanted = {"paths": [str(logs)], "archive": str(tmp_path / "archive")}
    done = result(play, **wanted)
    assert done["failed"] and done["changed"] and done["count"] == 3
    assert len(done["problems"]) == 1 and f"{logs}/Memory.log.2.gz" in done["msg"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"compression_level": "12"}, "gzip has no compression level '12'"),
        ({"paths": ["/nonexistent/x.log"]}, "This folder does not exist"),
        ({"archive": "/proc/archive"}, "This folder cannot be made"),
    ],
)
def test_what_cannot_be_done_is_said(
    play: Playbook, logs: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    refused = result(play, **{"paths": [str(logs)], "archive": str(tmp_path / "archive"), **options})
    assert refused["failed"] and said in refused["msg"]
