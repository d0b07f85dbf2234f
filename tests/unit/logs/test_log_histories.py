# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any history of a log: written, rotated one way or another, compressed, archived now and then."""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_bench import Bench

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.logs import catalogue

STEPS = st.lists(
    st.sampled_from(
        ["write", "write a piece", "rename", "copy", "gzip", "bzip2", "archive", "remove", "truncate", "touch"]
    ),
    min_size=3,
    max_size=40,
)


class Later(SystemClock):
    """Two minutes on: a copy that still stands beside its original is none that is just being made."""

    def now(self) -> float:
        return super().now() + 120


class History:
    """Applies steps to a log, and keeps what was ever written to it, in order."""

    def __init__(self, folder: Path, distinct: bool) -> None:
        self.bench = Bench(folder / "logs", folder / "archive")
        self.bench.folder.mkdir()
        self.written, self._distinct, self._rotated = b"", distinct, 0

    def step(self, name: str) -> None:
        actions: dict[str, Callable[[], object]] = {
            "write": lambda: self._write(b"\n"),
            "write a piece": lambda: self._write(b""),
            "rename": lambda: self._rotate(copying=False),
            "copy": lambda: self._rotate(copying=True),
            "gzip": lambda: self._compress(".gz", gzip.compress),
            "bzip2": lambda: self._compress(".bz2", bz2.compress),
            "archive": self.bench.sound,
            "remove": lambda: self.bench.sound(original="remove"),
            "truncate": lambda: self.bench.sound(original="truncate"),
            "touch": self.bench.log.touch,
        }
        actions[name]()

    def _write(self, end: bytes) -> None:
        text = b"%d of the log" % len(self.written) if self._distinct else b"tick"
        text = text * 300 + end
        with self.bench.log.open("ab") as file:
            file.write(text)
        self.written += text

    def _rotate(self, copying: bool) -> None:
        if not self.bench.log.exists():
            return
        self._rotated += 1
        old = self.bench.folder / f"Twin.log.{100 - self._rotated}"
        if copying:
            shutil.copyfile(self.bench.log, old)
            os.truncate(self.bench.log, 0)
        else:
            self.bench.log.rename(old)

    def _compress(self, suffix: str, pack: Callable[[bytes], bytes]) -> None:
        for plain in sorted(self.bench.folder.glob("Twin.log.[0-9]*")):
            if plain.suffix not in (".gz", ".bz2"):
                found = plain.stat()
                packed = plain.with_name(plain.name + suffix)
                packed.write_bytes(pack(plain.read_bytes()))
                os.utime(packed, ns=(found.st_atime_ns, found.st_mtime_ns))
                plain.unlink()
                return


@pytest.fixture(autouse=True)
def short_catalogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun anew again and again, so that nothing that is needed may be missing."""
    monkeypatch.setattr(catalogue, "LONGEST", 4)
    monkeypatch.setattr(catalogue, "NEWEST", 0)


def apply(steps: list[str], distinct: bool) -> History:
    folder = Path(tempfile.mkdtemp(prefix="history-"))
    try:
        history = History(folder, distinct)
        for name in steps:
            history.step(name)
        history.bench.clock = Later()
        for _twice in range(2):
            history.bench.sound()
        assert sorted(history.bench.archived()) == sorted(history.written)
        if distinct:
            assert history.bench.archived() == history.written
        for one in history.bench.sound():
            assert one.files == []
        return history
    finally:
        shutil.rmtree(folder)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_the_archive_is_what_was_written_in_order(steps: list[str]) -> None:
    apply(steps, distinct=True)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS.map(lambda steps: [one for one in steps if one not in ("copy", "truncate")]))
def test_it_is_also_where_all_lines_are_alike(steps: list[str]) -> None:
    """Without ``copy``: a log that was cut and grew again to the same bytes cannot be told from one that was not."""
    apply(steps, distinct=False)
