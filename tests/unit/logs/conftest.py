# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log that a process of its own writes, and its archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from log_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "logs", tmp_path / "archive")
    made.folder.mkdir()
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()
