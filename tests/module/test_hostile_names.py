# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files that are no UTF-8, or that would move a terminal, in what modules return."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playbook import Playbook

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

NAMES = (b"\xff\xfe.log", b"line\nbreak.log", b"\x1b[2J.log", "\u00e9.log".encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"a line\n")
    return folder


@pytest.mark.parametrize("module", ["log_archive", "checksum", "restore"])
def test_a_module_returns_what_it_did(tmp_path: Path, folder: Path, module: str) -> None:
    repository = str(tmp_path / "repository")
    options: dict[str, dict[str, Any]] = {
        "log_archive": {"paths": [str(folder)], "archive": str(tmp_path / "archive")},
        "checksum": {"paths": [str(folder)], "catalogues": True},
        "restore": {"repository": repository},
    }
    if module == "restore":
        snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (str(folder),)), SystemClock())
        for file in folder.iterdir():
            file.write_bytes(b"spoiled")
    ran = Playbook(tmp_path / "play", {"pc2": {}}).task(module, options[module], "--diff")
    done = ran.results["pc2"]
    assert done["changed"] and not done.get("failed"), ran.output
    listed = {"log_archive": "files", "checksum": "new", "restore": "kept_aside"}[module]
    assert len(done[listed]) == len(NAMES) and "\\udcff\\udcfe.log" in str(done[listed]).replace("\\\\", "\\")
