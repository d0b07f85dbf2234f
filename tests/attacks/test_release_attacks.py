# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging and pointing are killed with SIGKILL at random moments, compete, and run out of disk."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import Probe, Unit
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.model import Release, ReleasedAgent
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_archive import pack
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_document import (
    ReleaseError,
    document_digest,
    to_document,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.releases import Releases

KILLS = 40
AGENTS = tuple(f"Agent{number}" for number in range(20))
RELEASES = "from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.releases import Releases"
STAGE = f"""
import sys
{RELEASES}
print("begins", flush=True)
Releases(sys.argv[1]).stage(sys.argv[2], sys.argv[3])
print("staged", flush=True)
"""
POINT = f"""
import sys
{RELEASES}
releases = Releases(sys.argv[1])
print("begins", flush=True)
while True:
    for release in ("r-2", "r-1"):
        for agent in sys.argv[2].split(","):
            releases.point(agent, "blue", release)
        releases.set_current(release)
"""


def start(program, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def archive_of(folder, release_id, files=300, size=2000):
    """An archive whose files cannot be compressed; returns its path and the release's digest."""
    random_bytes = random.Random(release_id)
    contents = {f"code/module{number}.py": random_bytes.randbytes(size) for number in range(files)}
    contents.update({f"units/{agent}": b"#!/bin/sh\n" for agent in AGENTS})
    agents = {
        name: ReleasedAgent(name, "x.py", "f", Unit(name, f"state/{name}", f"logs/{name}.log"), Probe(name, "tcp"))
        for name in AGENTS
    }
    described = {
        path: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "mode": 0o644}
        for path, content in contents.items()
    }
    document = to_document(Release(release_id, "MainPC", "", agents, described))
    document["digest"] = document_digest(document)
    path = folder / f"{release_id}.tar.gz"
    path.write_bytes(pack(document, contents))
    return str(path), document["digest"]


def test_a_killed_staging_publishes_nothing_or_everything(tmp_path):
    archive, digest = archive_of(tmp_path, "r-1")
    root = str(tmp_path / "root")
    within = 0.1
    published = 0
    for _unused in range(KILLS):
        process = start(STAGE, root, archive, digest)
        process.stdout.readline()
        time.sleep(random.uniform(0.0, within))
        process.send_signal(signal.SIGKILL)
        said, _errors = process.communicate()
        releases = Releases(root)
        assert releases.staged() in ([], ["r-1"])
        if "staged" in said:
            assert releases.staged() == ["r-1"]
        # Follows the machine's speed, so that kills fall before and after the publication.
        within *= 0.8 if releases.staged() else 1.3
        if releases.staged():
            assert releases.verify("r-1") == []
            published += 1
            os.rename(os.path.join(root, "releases", "r-1"), str(tmp_path / f"published{published}"))
    Releases(root).stage(archive, digest)
    assert Releases(root).verify("r-1") == []
    assert sorted(os.listdir(os.path.join(root, "releases"))) == [".lock", "r-1"]
    print(f"{KILLS} kills: {published} published whole, {KILLS - published} not at all")
    assert 0 < published < KILLS


def test_many_that_stage_the_same_release_leave_one(tmp_path):
    archive, digest = archive_of(tmp_path, "r-1", files=100)
    root = str(tmp_path / "root")
    processes = [start(STAGE, root, archive, digest) for _unused in range(6)]
    assert ["staged" in process.communicate()[0] for process in processes] == [True] * 6
    assert Releases(root).staged() == ["r-1"]
    assert Releases(root).verify("r-1") == []


def test_a_killed_switch_leaves_every_link_whole(tmp_path):
    root = str(tmp_path / "root")
    releases = Releases(root)
    for release_id in ("r-1", "r-2"):
        releases.stage(*archive_of(tmp_path, release_id, files=5))
    for agent in AGENTS:
        releases.point(agent, "blue", "r-1")
    for _unused in range(KILLS):
        process = start(POINT, root, ",".join(AGENTS))
        process.stdout.readline()
        time.sleep(random.uniform(0.0, 0.08))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        pointers = releases.pointers()
        assert set(pointers) == set(AGENTS)
        assert {slots["blue"] for slots in pointers.values()} <= {"r-1", "r-2"}
        for agent in AGENTS:
            assert os.path.isfile(os.path.join(root, "agents", agent, "blue", "units", agent))
        assert releases.current() in (None, "r-1", "r-2")
    assert releases.prune(0, {"r-1", "r-2"}) == []
    assert {tuple(os.listdir(os.path.join(root, "agents", agent))) for agent in AGENTS} == {("blue",)}


def test_a_full_disk_stages_nothing_and_is_said(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    root = tmp_path / "root"
    root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k,nr_inodes=400", "tmpfs", str(root)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        releases = Releases(str(root))
        releases.stage(*archive_of(tmp_path, "r-1", files=5))
        with pytest.raises(ReleaseError, match=r"needs \d+ bytes and \d+ are free"):
            releases.stage(*archive_of(tmp_path, "r-2", files=100, size=20000))
        # enough bytes are free, but not enough inodes: noticed only while writing
        with pytest.raises(ReleaseError, match="cannot be written: No space left on device"):
            releases.stage(*archive_of(tmp_path, "r-3", files=390, size=0))
        assert sorted(os.listdir(root / "releases")) == [".lock", "r-1"]
        assert releases.verify("r-1") == []
        releases.stage(*archive_of(tmp_path, "r-4", files=5))
        assert releases.staged() == ["r-1", "r-4"]
    finally:
        subprocess.run(["umount", str(root)], check=True)
