# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention, prune, scrub and heal as an operator runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playbook import COLLECTIONS, Playbook

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host root with four snapshots of its state, the third one pinned."""
    root = tmp_path / "root"
    (root / "state").mkdir(parents=True)
    for number in range(4):
        (root / "state/changes").write_bytes(os.urandom(50_000))
        wanted = snapshots.Wanted("pc2", (str(root / "state"),), tags=("nightly",), pin=number == 2)
        snapshots.take_snapshot(str(root / "repository"), wanted, SystemClock())
    return root


@pytest.fixture
def play(tmp_path: Path) -> Playbook:
    return Playbook(tmp_path / "play", {"pc2": {}})


def result(play: Playbook, module: str, *arguments: str, **options: Any) -> dict[str, Any]:
    ran = play.task(module, options, *arguments)
    assert "pc2" in ran.results, ran.output
    return dict(ran.results["pc2"])


def published(root: Path) -> dict[str, bytes]:
    folder = root / "repository"
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.relative_to(folder).parts[0] not in ("locks", "tmp")
    }


def test_forget_says_what_it_would_do_does_it_and_is_done(play: Playbook, root: Path) -> None:
    wanted = {"root": str(root), "keep_last": 1, "prune": True, "max_unused": 0}
    before = published(root)
    looked = result(play, "forget", "--check", "--diff", **wanted)
    assert looked["changed"] and published(root) == before and looked["pruned"]["bytes_freed"] > 0
    done = result(play, "forget", "--diff", **wanted)
    assert done["changed"] and done["diff"]["prepared"] == looked["diff"]["prepared"]
    assert [one["reasons"] for one in done["kept"]] == [["last snapshot"], ["pinned"]]
    assert [one["sequence"] for one in done["dropped"]] == [2, 1]
    assert done["diff"]["prepared"].splitlines()[2].split()[:2] == ["drop", done["dropped"][0]["id"]]
    again = result(play, "forget", **wanted)
    assert not again["changed"] and again["dropped"] == [] and again["kept"] == done["kept"]
    assert snapshots.verify_repository(f"{root}/repository").faults() == []


def test_forget_refuses_what_would_be_a_mistake(play: Playbook, root: Path) -> None:
    repository = f"{root}/repository"
    refused = result(play, "forget", repository=repository, schedules={"nightly": {"keep_lost": 2}})
    assert refused["failed"] and "'keep_lost' is no rule" in refused["msg"]
    pinned = next(one for one in snapshots.list_snapshots(repository)[0] if one["pinned"])
    refused = result(play, "forget", repository=repository, snapshots=[pinned["id"]])
    assert refused["failed"] and "is pinned" in refused["msg"]
    allowed = result(play, "forget", repository=repository, snapshots=[pinned["id"]], allow=["pinned"])
    assert allowed["changed"] and [one["id"] for one in allowed["dropped"]] == [pinned["id"]]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def test_scrub_names_what_is_damaged_heals_it_and_is_quiet_after(play: Playbook, root: Path) -> None:
    shutil.copytree(root / "repository", root / "peer")
    heads = str(root / "heads.json")
    sound = result(play, "scrub", root=str(root), heads=heads)
    assert not sound["failed"] and sound["changed"] and sound["damaged"] == []

    damaged = [next(Path(root, "repository", part).rglob(kind)) for part, kind in (("packs", "*.pack"), ("pins", "*"))]
    for file in damaged:
        flip(file)
    before = published(root)
    wanted = {"root": str(root), "copies": [str(root / "peer")], "live": False}
    named = result(play, "scrub", **wanted)
    assert named["failed"] and not named["changed"] and {one["kind"] for one in named["damaged"]} == {"pack", "pin"}
    assert named["touched"] and f"{root}/state/changes: is lost" in named["msg"]

    looked = result(play, "scrub", "--check", "--diff", **wanted, heal=True)
    assert looked["changed"] and not looked["failed"] and published(root) == before
    healed = result(play, "scrub", "--diff", **wanted, heal=True)
    assert healed["changed"] and not healed["failed"] and healed["damaged"] == [] and healed["touched"] == {}
    assert healed["diff"]["prepared"] == looked["diff"]["prepared"]
    assert f"from {root}/peer" in healed["diff"]["prepared"] and len(healed["healed"]["quarantined"]) == 2
    again = result(play, "scrub", **wanted, heal=True, heads=heads)
    assert not again["changed"] and not again["failed"]
    assert snapshots.verify_repository(f"{root}/repository").faults() == []


def test_what_cannot_be_healed_is_said(play: Playbook, root: Path) -> None:
    for pack in Path(root, "repository/packs").rglob("*.pack"):
        pack.unlink()
    left = result(play, "scrub", root=str(root), heal=True)
    assert left["failed"] and len(left["touched"]) == 4 and "(list of entries)" in left["msg"]


def test_the_playbook(play: Playbook, root: Path) -> None:
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", play.folder / "inventory.json", "fleetops.continuity.scrub"),
            *("-e", "scrub_hosts=all", "-e", f"continuity_root={root}", "-e", "scrub_share=1/1"),
        ],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0 and "bytes: sound; 0 files replaced" in ran.stdout, ran.stdout + ran.stderr
