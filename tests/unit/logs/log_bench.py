# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log that a process of its own writes, and its archive."""

from __future__ import annotations

import fcntl
import gzip
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import Clock, SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.logs.archive import Archived
from ansible_collections.fleetops.continuity.plugins.module_utils.logs.batch import Wanted, archive_logs

WRITER = Path(__file__).with_name("log_writer.py")


@dataclass
class Bench:
    """A folder with logs, and an archive beside it."""

    folder: Path
    archive: Path
    process: Any = field(default=None)
    clock: Clock = field(default_factory=SystemClock)

    @property
    def log(self) -> Path:
        return self.folder / "Twin.log"

    def run(self, check: bool = False, **options: Any) -> list[Archived]:
        wanted = Wanted(paths=(str(self.folder),), archive=str(self.archive), **options)
        return archive_logs(wanted, self.clock, check=check)

    def sound(self, **options: Any) -> list[Archived]:
        """Archive; nothing may fail."""
        results = self.run(**options)
        assert [str(problem) for one in results for problem in one.problems] == []
        return results

    def archived(self, name: str = "Twin.log") -> bytes:
        """The log as its archive has it, read by Python's own gzip."""
        return b"".join(gzip.decompress(path.read_bytes()) for path in sorted(self.archive.glob(f"{name}.*.gz")))

    def start(self, mode: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WRITER), str(self.log), mode, str(self.folder.parent / "turn")],
            stdout=subprocess.PIPE,
            text=True,
        )
        while not self.log.exists() or self.log.stat().st_size < 100:
            assert self.process.poll() is None

    def stop(self) -> int:
        """End the writer; how many lines it wrote."""
        self.process.terminate()
        said, _unused = self.process.communicate(timeout=20)
        self.process = None
        return int(said)

    @contextmanager
    def between_lines(self) -> Iterator[None]:
        with open(self.folder.parent / "turn", "a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    def numbers(self) -> list[int]:
        return [int(line.split()[0]) for line in self.archived().decode().splitlines()]
