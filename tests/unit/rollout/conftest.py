# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small real fleet for tests that change one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from small_fleet import AGENTS, SmallFleet


@pytest.fixture
def small_fleet() -> Iterator[SmallFleet]:
    """Five agents on two host roots, nothing staged; the path is short because sockets need that."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    fleet = SmallFleet(folder)
    try:
        for host in AGENTS:
            fleet.make_root(host)
        yield fleet
    finally:
        fleet.stop()
        shutil.rmtree(folder)
