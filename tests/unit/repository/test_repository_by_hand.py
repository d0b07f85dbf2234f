# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script of docs/restore-by-hand.md, run with nothing but the tools that the page names."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import compression
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository

PAGE = Path(__file__).resolve().parents[3] / "docs" / "restore-by-hand.md"
TOOLS = [
    "bash",
    "cat",
    "chmod",
    "chown",
    "cp",
    "head",
    "id",
    "ln",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mv",
    "od",
    "rm",
    "sha256sum",
    "tac",
    "tail",
    "touch",
    "tr",
    "truncate",
    "grep",
    "awk",
    "jq",
    "gzip",
    "zstd",
]
FOR_ENCRYPTED = ["age", "openssl"]


def provide(folder: Path, tool: str) -> None:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    (folder / "tools" / tool).symlink_to(found)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (text,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "tools").mkdir()
    for tool in TOOLS:
        provide(tmp_path, tool)
    file = tmp_path / "restore-by-hand.sh"
    file.write_text(text)
    return file


def by_hand(script: Path, world: Any, *pattern: str, **environment: str) -> subprocess.CompletedProcess[str]:
    manifest = sorted(Path(world.repository, "manifests/pc2").iterdir())[-1]
    bash = script.parent / "tools/bash"
    return subprocess.run(
        [bash, script, world.repository, manifest, world.target, *pattern],
        env={"PATH": str(script.parent / "tools"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def fill(world: Any) -> None:
    world.write({f"state/agent-{number}/state.json": b'{"n": %d}' % number for number in range(20)})
    world.write({"large": os.urandom(700_000) + bytes(300_000), "text": b"line\n" * 30_000, "empty": b""})
    (world.tree / os.fsdecode(b'odd \xff%41 "name"\n')).write_bytes(b"odd")
    (world.tree / "link").symlink_to("state/agent-1")
    os.mkfifo(world.tree / "pipe")
    os.link(world.tree / "text", world.tree / "text too")
    (world.tree / "text").chmod(0o640)
    with open(world.tree / "sparse", "wb") as stream:
        stream.truncate(3_000_000)
    with sqlite3.connect(world.tree / "memory.db") as database:
        database.execute("create table facts (fact)")
    database.close()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_snapshot_is_restored_with_standard_tools_alone(
    world: Any, script: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "zstd" and compression.best() != compression.ZSTD:
        pytest.skip("this Python has no Zstandard")
    monkeypatch.setattr(
        f"{compression.__name__.rpartition('.')[0]}.storing.best", lambda: getattr(compression, kind.upper())
    )
    fill(world)
    world.take()
    ended = by_hand(script, world)
    assert ended.returncode == 0 and "restored" in ended.stdout, ended.stderr
    compared = snapshots.compare_tree(world.repository, "latest", str(world.target))
    assert compared.faults() == []
    assert (world.restored("text").stat().st_ino, world.restored("text").stat().st_mode & 0o7777) == (
        world.restored("text too").stat().st_ino,
        0o640,
    )
    assert abs(world.restored("text").stat().st_mtime - (world.tree / "text").stat().st_mtime) < 1e-5


def test_a_part_is_restored_by_hand(world: Any, script: Path) -> None:
    fill(world)
    world.take()
    ended = by_hand(script, world, f'"path":"{world.tree}/state/agent-7[/"]')
    assert ended.returncode == 0, ended.stderr
    assert [file.name for file in world.restored("state").iterdir()] == ["agent-7"]


def test_damage_is_noticed_by_hand(world: Any, script: Path) -> None:
    fill(world)
    world.take()
    (pack,) = Path(world.repository, "packs").glob("*/*")
    content = bytearray(pack.read_bytes())
    content[300_000] ^= 1
    pack.write_bytes(bytes(content))
    ended = by_hand(script, world)
    assert ended.returncode != 0 and "was changed" in ended.stderr


def test_an_encrypted_snapshot_is_restored_by_hand(world: Any, script: Path) -> None:
    pyrage = pytest.importorskip("pyrage")
    for tool in FOR_ENCRYPTED:
        provide(script.parent, tool)
    key = pyrage.x25519.Identity.generate()
    identity = world.folder / "identity.txt"
    identity.write_text(f"{key}\n")
    Repository.init(world.repository, 0.0, recipients=[str(key.to_public())])
    fill(world)
    wanted = snapshots.Wanted("pc2", (str(world.tree),))
    snapshots.take_snapshot(world.repository, wanted, SystemClock(), identity_files=[str(identity)])
    without = by_hand(script, world)
    assert without.returncode != 0 and "set IDENTITY" in without.stderr
    ended = by_hand(script, world, IDENTITY=str(identity))
    assert ended.returncode == 0 and "restored" in ended.stdout, ended.stderr
    compared = snapshots.compare_tree(world.repository, "latest", str(world.target), identity_files=[str(identity)])
    assert compared.faults() == []
