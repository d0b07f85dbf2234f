# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world for the repository: a tree to take, a repository to take it into."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.taking import Outcome


class World:
    """``tree`` is the source, ``repository`` the path of a repository, ``target`` somewhere else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.repository = str(folder / "repository")
        self.target = folder / "target"

    def write(self, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            file = self.tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    def take(
        self, *, check: bool = False, host: str = "pc2", sources: Optional[list[Path]] = None, **wanted: Any
    ) -> Outcome:
        chosen = tuple(str(source) for source in sources or [self.tree])
        return snapshots.take_snapshot(
            self.repository, snapshots.Wanted(host=host, sources=chosen, **wanted), SystemClock(), check=check
        )

    def restore(self, name: str = "latest", **options: Any) -> Any:
        return snapshots.restore_snapshot(self.repository, name, target=str(self.target), **options)[1]

    def faults(self, **options: Any) -> list[str]:
        return snapshots.verify_repository(self.repository, **options).faults()

    def restored(self, name: str) -> Path:
        return Path(f"{self.target}{self.tree}") / name


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
