# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories that an enemy wrote: whatever they say, nothing is written outside of the target.

``CONTINUITY_ATTACKS`` says how many mutations are tried; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import time
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import compression, manifests
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.index import Index
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.packs import PackWriter

FUZZ = int(os.environ.get("CONTINUITY_ATTACKS", "120"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
CONTENT = b"owned"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COMMON = {"mode": 0o644, "uid": 0, "gid": 0, "user": "", "group": "", "mtime": 1}
FILE = {
    "type": "file",
    **COMMON,
    "size": len(CONTENT),
    "sha256": DIGEST,
    "md5": hashlib.md5(CONTENT).hexdigest(),
    "blocks": [DIGEST],
}
FOLDER = {"type": "directory", **COMMON, "mode": 0o755}


def line(path: str, fields: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({"path": path, "seen": "", **fields, **changes}).encode() + b"\n"


def forge(
    folder: Path,
    lines: list[bytes],
    *,
    sources: tuple[str, ...] = ("/s",),
    block: Optional[tuple[int, int, bytes]] = None,
) -> str:
    """A repository whose every digest is right and whose words are the enemy's. ``block`` is the
    (length, compression, payload) under which the one block of content stands."""
    repository, _unused = Repository.init(str(folder), 0.0)
    text = b"".join(lines)
    segment = hashlib.sha256(text).digest()
    packs = PackWriter(repository, "pc2")
    length, kind, payload = block or (len(CONTENT), compression.NONE, CONTENT)
    packs.add(bytes.fromhex(DIGEST), length, kind, payload)
    packs.add(segment, len(text), compression.NONE, text)
    packs.flush()
    packs.sync()
    Index(repository).publish(packs.published, "pc2")
    manifests.publish(
        repository,
        {
            "format": manifests.FORMAT,
            "version": 1,
            "host": "pc2",
            "sequence": 1,
            "previous": None,
            "time": "2026-01-31T02:00:00.000000Z",
            "parent": None,
            "restore_point": None,
            "tags": [],
            "sources": list(sources),
            "exclude": [],
            "entries": [{"block": segment.hex(), "count": text.count(b"\n"), "first": "/s"}],
            "totals": {"files": 1, "directories": 1, "symlinks": 0, "fifos": 0, "bytes": len(CONTENT)},
            "problems": [],
        },
    )
    return str(folder)


def everything(folder: Path) -> dict[str, object]:
    return {
        str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_bytes(b"precious")
    (tmp_path / "target").mkdir()
    return tmp_path


def attack(place: Path, repository: str) -> None:
    before = everything(place / "outside")
    beside = {path.name for path in place.iterdir()}
    verified: list[str] = []
    try:
        verified = snapshots.verify_repository(repository).faults()
    except ContinuityError as error:
        verified = [str(error)]
    failed: dict[str, str] = {}
    try:
        failed = snapshots.restore_snapshot(repository, "latest", target=str(place / "target"))[1].failed
    except ContinuityError as error:
        failed = {"": str(error)}
    assert everything(place / "outside") == before
    assert {path.name for path in place.iterdir()} == beside
    assert failed and verified, "an attack went through without a word"


def escapes(place: Path) -> list[tuple[str, list[bytes]]]:
    up = "/s" + "/.." * 20 + f"{place}/outside/precious"
    return [
        ("dots", [line("/s", FOLDER), line(up, FILE)]),
        ("escaped dots", [line("/s", FOLDER), line("/s/%2E%2E/%2E%2E/x", FILE)]),
        ("relative", [line("s/x", FILE)]),
        ("outside of the sources", [line(f"{place}/outside/precious", FILE)]),
        (
            "through a link",
            [line("/s", {**FOLDER, "type": "symlink", "target": f"{place}/outside"}), line("/s/precious", FILE)],
        ),
        (
            "through a link in a folder",
            [
                line("/s", FOLDER),
                line("/s/l", {**FOLDER, "type": "symlink", "target": f"{place}/outside"}),
                line("/s/l/precious", FILE),
            ],
        ),
        (
            "twice",
            [
                line("/s", FOLDER),
                line("/s/l", {**FOLDER, "type": "symlink", "target": f"{place}/outside/precious"}),
                line("/s/l", FILE),
            ],
        ),
        ("backwards", [line("/s", FOLDER), line("/s/b", FILE), line("/s/a", FILE)]),
        ("zero byte", [line("/s", FOLDER), line("/s/a%00b", FILE)]),
        ("a size that is not there", [line("/s", FOLDER), line("/s/a", FILE, size=1 << 40)]),
        ("a size too small", [line("/s", FOLDER), line("/s/a", FILE, size=1)]),
        ("a hole beyond every disk", [line("/s", FOLDER), line("/s/a", FILE, size=1 << 60, blocks=[1 << 60])]),
        ("many times one block", [line("/s", FOLDER), line("/s/a", FILE, blocks=[DIGEST] * 1000)]),
        (
            "another file's name",
            [
                line("/s", FOLDER),
                line("/s/a", FILE, hard_link="1"),
                line("/s/b", FILE, hard_link="1", sha256="cd" * 32),
            ],
        ),
        ("an unknown block", [line("/s", FOLDER), line("/s/a", FILE, blocks=["ab" * 32])]),
        ("another digest", [line("/s", FOLDER), line("/s/a", FILE, sha256="cd" * 32)]),
        ("a device", [line("/s", FOLDER), line("/s/a", {**FOLDER, "type": "device"})]),
        ("no JSON", [b"{\n"]),
        ("nothing but a number", [b"5\n"]),
    ]


@pytest.mark.parametrize("name", [name for name, _unused in escapes(Path("/x"))])
def test_a_hostile_list_of_entries_gets_nowhere(place: Path, name: str) -> None:
    attack(place, forge(place / "repository", dict(escapes(place))[name]))


def test_another_md5_is_noticed_and_changes_nothing_that_is_restored(place: Path) -> None:
    """Content is what its SHA-256 says; the MD5 is for people's tools, and verify compares it."""
    repository = forge(place / "repository", [line("/s", FOLDER), line("/s/a", FILE, md5="cd" * 16)])
    (fault,) = snapshots.verify_repository(repository).faults()
    assert "/s/a: The blocks of a file do not have its digests" in fault
    assert snapshots.restore_snapshot(repository, "latest", target=str(place / "target"))[1].failed == {}
    assert (place / "target/s/a").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", [compression.GZIP, compression.best()])
@pytest.mark.parametrize("length", [len(CONTENT), 16 * 1024 * 1024, 2**32 - 1])
def test_a_bomb_in_a_block_costs_no_memory(place: Path, kind: int, length: int) -> None:
    _unused, payload = compression.compress(bytes(400_000_000), kind)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    attack(place, forge(place / "repository", [line("/s", FOLDER), line("/s/a", FILE)], block=(length, kind, payload)))
    # The bomb itself was made in this process, so the peak stands already; it must not rise by its size.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("sources", [("/s/..",), ("s",), ("//s",), ("%2Fs",), ("",)])
def test_hostile_sources_get_nowhere(place: Path, sources: tuple[str, ...]) -> None:
    attack(place, forge(place / "repository", [line("/s/..", FOLDER)], sources=sources))


def test_what_no_file_system_holds_costs_itself_alone(place: Path) -> None:
    """Names, targets and depths beyond the limits of this one, as another may have had them."""
    lines = [
        line("/s", FOLDER),
        line("/s/a", FILE),
        line("/s/b" + "b" * 300, FILE),
        line("/s/c", {**FOLDER, "type": "symlink", "target": "c" * 5000}),
        line("/s/d" + "d" * 300, FOLDER),
        line("/s/d" + "d" * 300 + "/inside", FILE),
        line("/s/z", FILE),
    ]
    repository = forge(place / "repository", lines)
    done = snapshots.restore_snapshot(repository, "latest", target=str(place / "target"))[1]
    assert len(done.failed) == 4 and set(done.failed.values()) == {"File name too long"}
    assert {file.name for file in (place / "target/s").iterdir()} == {"a", "z"}


def test_a_block_of_very_many_entries_costs_no_memory(place: Path) -> None:
    repository = forge(place / "repository", [b"xx\n" * (5 << 20)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    attack(place, repository)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


@pytest.mark.parametrize("where", ["s", "s/sub"])
def test_a_link_that_stands_in_the_target_is_not_followed(place: Path, where: str) -> None:
    repository = forge(
        place / "repository", [line("/s", FOLDER), line("/s/sub", FOLDER), line("/s/sub/precious", FILE)]
    )
    link = place / "target" / where
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(place / "outside")
    before = everything(place / "outside")
    try:
        snapshots.restore_snapshot(repository, "latest", target=str(place / "target"))
    except ContinuityError as error:
        assert "not a folder" in str(error)
    assert everything(place / "outside") == before


def test_a_link_under_the_name_of_the_unfinished_file_is_not_followed(place: Path) -> None:
    repository = forge(place / "repository", [line("/s", FOLDER), line("/s/a", FILE)])
    (place / "target/s").mkdir()
    aside = ".continuity-restore-" + hashlib.sha256(b"a").hexdigest()[:16]
    (place / "target/s" / aside).symlink_to(place / "outside/precious")
    snapshots.restore_snapshot(repository, "latest", target=str(place / "target"))
    assert (place / "outside/precious").read_bytes() == b"precious"
    assert (place / "target/s/a").read_bytes() == CONTENT


def test_a_link_under_the_name_of_the_folder_for_replaced_things_is_not_followed(place: Path) -> None:
    (place / "tree/folder").mkdir(parents=True)
    (place / "tree/folder/precious").write_bytes(b"then")
    repository = str(place / "taken")
    taken = snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (str(place / "tree"),)), SystemClock())
    assert taken.manifest is not None
    (place / "tree/folder/precious").write_bytes(b"later")
    before = everything(place / "outside")
    for second in range(20):
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + second))
        (place / f".replaced-{taken.manifest.id}-{when}").symlink_to("outside")
    done = snapshots.restore_snapshot(repository, "latest")[1]
    assert everything(place / "outside") == before
    (kept,) = done.kept_aside
    assert kept.endswith("-2/tree/folder/precious") and Path(kept).read_bytes() == b"later"
    assert (place / "tree/folder/precious").read_bytes() == b"then"


def test_mutated_entries_never_get_out_and_never_crash(place: Path) -> None:
    chance = random.Random(SEED)
    (place / "tree/folder").mkdir(parents=True)
    (place / "tree/folder/file").write_bytes(CONTENT)
    (place / "tree/link").symlink_to("folder")
    os.mkfifo(place / "tree/pipe")
    taken = str(place / "taken")
    snapshots.take_snapshot(taken, snapshots.Wanted("pc2", (str(place / "tree"),)), SystemClock())
    repository = Repository.open(taken)
    from ansible_collections.fleetops.continuity.plugins.module_utils.repository.blocks import BlockReader, lines

    good = b"\n".join(lines(BlockReader(repository, Index(repository)), manifests.find(repository, "latest"))) + b"\n"
    before = everything(place / "outside")
    refused = 0
    for number in range(FUZZ):
        spoiled = bytearray(good)
        for _unused in range(chance.randrange(1, 4)):
            at = chance.randrange(len(spoiled))
            action = chance.randrange(3)
            if action == 0:
                spoiled[at] = chance.randrange(256)
            elif action == 1:
                del spoiled[at : at + chance.randrange(1, 20)]
            else:
                spoiled[at:at] = chance.choice([b"../", b"/..", b"%2F", b'"', b"\n", b"0", b"{", b"-1", b"null"])
        listed = bytes(spoiled).split(b"\n")
        forged = forge(
            place / f"forged-{number}", [one + b"\n" for one in listed if one], sources=(str(place / "tree"),)
        )
        try:
            snapshots.restore_snapshot(forged, "latest", target=str(place / "target"))
        except ContinuityError:
            refused += 1
        try:
            snapshots.verify_repository(forged)
        except ContinuityError:
            pass
    assert everything(place / "outside") == before
    assert refused > FUZZ // 4, f"ATTACK_SEED={SEED}"
