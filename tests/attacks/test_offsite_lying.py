# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints that lie, and copies that somebody forged: noticed, and nothing is written outside."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import (
    offsite_copies,
    offsite_documents,
    snapshots,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.offsite_copies import Copy
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite import catalogue
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.destination import Destination, open_store
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.faults import DamagedObjectError, OffsiteError
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.store import ObjectStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testbed"))
from object_servers import PlainHandler, served

pyrage = pytest.importorskip("pyrage", reason="the Python package pyrage is not installed")
ATTACKS = int(os.environ.get("CONTINUITY_ATTACKS", "20"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
CLOCK = SystemClock()


class Fleet:
    def __init__(self, folder: Path) -> None:
        self.tree, self.repository = folder / "tree", str(folder / "repository")
        self.tree.mkdir()
        (folder / "far").mkdir()
        (self.tree / "state").write_bytes(os.urandom(200_000))
        self.taken = snapshots.take_snapshot(self.repository, snapshots.Wanted("pc2", (str(self.tree),)), CLOCK)
        self.identity = pyrage.x25519.Identity.generate()
        self.public, self.private = str(self.identity.to_public()), str(folder / "identity")
        Path(self.private).write_text(f"{self.identity}\n")
        self.authorization = folder / "authorization"
        self.authorization.write_text(PlainHandler.authorization + "\n")

    def send(self, copy: Copy) -> list[str]:
        return offsite_copies.send(self.repository, copy, [self.public], None, CLOCK)[1].sent

    def copy(self, port: int) -> Copy:
        url = f"http://127.0.0.1:{port}/fleet"
        return Copy(Destination(url, credentials_file=str(self.authorization), patience=1), parallel=2)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


class Liar(PlainHandler):
    """Says that all is well, and keeps what ``keeps`` makes of it (None: nothing)."""

    keeps: Callable[[bytes], Any]

    def do_PUT(self) -> None:
        content = self.keeps(self.rfile.read(int(self.headers["Content-Length"])))
        if content is not None:
            self._file().parent.mkdir(parents=True, exist_ok=True)
            self._file().write_bytes(content)
        self._answer(201)


LIES: dict[str, Callable[[Any, bytes], Any]] = {
    "nothing is kept": lambda _self, _content: None,
    "half is kept": lambda _self, content: content[: len(content) // 2],
    "all but the last byte is kept": lambda _self, content: content[:-1],
    "something is added": lambda _self, content: content + b"\n",
    "other bytes of the same size are kept": lambda _self, content: os.urandom(len(content)),
    "an error page is kept": lambda _self, _content: b"<html>503</html>",
}


@pytest.mark.parametrize("lie", LIES)
def test_an_upload_that_did_not_arrive_is_noticed_at_once(fleet: Fleet, tmp_path: Path, lie: str) -> None:
    with served(type("Lying", (Liar,), {"root": tmp_path / "far", "keeps": LIES[lie]})) as port:
        with pytest.raises(DamagedObjectError, match="said that all is well, but") as noticed:
            fleet.send(fleet.copy(port))
        assert ".age" in str(noticed.value)


def test_bytes_that_change_after_their_beginning_are_noticed_by_verify(fleet: Fleet, tmp_path: Path) -> None:
    """What no sender without a private key can see."""

    def keeps(_self: Any, content: bytes) -> bytes:
        return content[:-40] + os.urandom(40) if len(content) > 8192 else content

    with served(type("Lying", (Liar,), {"root": tmp_path / "far", "keeps": keeps})) as port:
        copy = fleet.copy(port)
        fleet.send(copy)
        assert offsite_copies.verify(copy, [], repository_path=fleet.repository).faults() == []
        damaged = list(offsite_copies.verify(copy, [fleet.private], level="data").damaged)
        assert len(damaged) == 1 and damaged[0].startswith("packs/")
        with pytest.raises(ContinuityError):
            offsite_copies.restore(copy, "latest", [fleet.private], target=str(tmp_path / "target"))
        assert not any(file.is_file() for file in (tmp_path / "target").rglob("*"))


def test_what_is_not_damaged_is_restored(fleet: Fleet, tmp_path: Path) -> None:
    """One pack that is lost, and a damaged manifest of another time, cost what was in them and nothing else."""
    copy = Copy(Destination(str(tmp_path / "far")))
    fleet.send(copy)
    first = set((tmp_path / "far").rglob("*.pack.age"))
    (fleet.tree / "later").write_bytes(os.urandom(100_000))
    wanted = snapshots.Wanted("pc2", (str(fleet.tree),))
    snapshots.take_snapshot(fleet.repository, wanted, CLOCK)
    fleet.send(copy)
    (old,) = (tmp_path / "far" / "manifests").rglob("00000001-*")
    old.write_bytes(old.read_bytes()[:-1])
    for pack in first:
        pack.unlink()
    manifest, restored = offsite_copies.restore(copy, "latest", [fleet.private], target=str(tmp_path / "target"))
    assert list(restored.failed) == [f"{fleet.tree}/state"]
    assert Path(f"{tmp_path}/target{fleet.tree}/later").read_bytes() == (fleet.tree / "later").read_bytes()
    assert len(restored.warnings) == 1 + len(first)
    with pytest.raises(ContinuityError, match="damaged in the copy: manifests/pc2/00000001"):
        offsite_copies.restore(copy, old.name[9:21], [fleet.private], target=str(tmp_path / "target"))
    assert manifest.sequence == 2 and len(offsite_copies.list_snapshots(copy, [fleet.private])[1]) == 1


def test_any_changed_byte_of_a_copy_is_noticed(fleet: Fleet, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    copy = Copy(Destination(str(tmp_path / "far")))
    fleet.send(copy)
    objects = sorted((tmp_path / "far").rglob("*.age"))
    for _unused in range(ATTACKS):
        file = chance.choice(objects)
        whole = file.read_bytes()
        at, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        file.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        try:
            noticed = bool(offsite_copies.verify(copy, [fleet.private], level="data").faults())
        except OffsiteError:
            noticed = True
        assert noticed, f"byte {at} of {file}, bit {bit}: ATTACK_SEED={SEED}"
        file.write_bytes(whole)
    assert offsite_copies.verify(copy, [fleet.private], level="data").faults() == []


class Bent:
    """A store whose listing is not what is there."""

    def __init__(self, store: ObjectStore, invent: dict[str, int], hide: tuple[str, ...] = ()) -> None:
        self._store, self._invent, self._hide = store, invent, hide

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        there = dict(self._store.list(prefix))
        there.update({name: size for name, size in self._invent.items() if name.startswith(prefix)})
        yield from ((name, size) for name, size in there.items() if not name.startswith(self._hide or ("\0",)))


class BentCopy(Copy):
    invent: ClassVar[dict[str, int]] = {}
    hide: ClassVar[tuple[str, ...]] = ()

    def store(self) -> Any:
        return Bent(open_store(self.destination), self.invent, self.hide)


def test_a_stale_listing_does_not_hide_what_is_missing(fleet: Fleet, tmp_path: Path) -> None:
    copy = BentCopy(Destination(str(tmp_path / "far")))
    fleet.send(copy)
    pack = next((tmp_path / "far" / "packs").rglob("*.age"))
    name, size = pack.relative_to(tmp_path / "far").as_posix(), pack.stat().st_size
    pack.unlink()
    BentCopy.invent = {name: size}
    try:
        assert offsite_copies.verify(copy, [fleet.private]).missing == [name]
        assert offsite_copies.verify(copy, [], repository_path=fleet.repository).missing == [name]
        (fleet.tree / "more").write_bytes(b"more")
        snapshots.take_snapshot(fleet.repository, snapshots.Wanted("pc2", (str(fleet.tree),)), CLOCK)
        assert name in fleet.send(copy)
    finally:
        BentCopy.invent = {}
    assert offsite_copies.verify(copy, [fleet.private], level="data").faults() == []


def test_a_listing_that_lags_costs_an_upload_and_nothing_else(fleet: Fleet, tmp_path: Path) -> None:
    copy = BentCopy(Destination(str(tmp_path / "far")))
    fleet.send(copy)
    BentCopy.hide = ("packs/",)
    try:
        assert [name.split("/")[0] for name in fleet.send(copy)] == ["packs"]
    finally:
        BentCopy.hide = ()
    assert offsite_copies.verify(copy, [fleet.private], level="data").faults() == []


def test_a_copy_that_was_taken_back_to_an_older_state_is_noticed(fleet: Fleet, tmp_path: Path) -> None:
    copy = Copy(Destination(str(tmp_path / "far")))
    fleet.send(copy)
    (fleet.tree / "state").write_bytes(os.urandom(1000))
    newest = snapshots.take_snapshot(fleet.repository, snapshots.Wanted("pc2", (str(fleet.tree),)), CLOCK).manifest
    assert newest is not None
    fleet.send(copy)
    (last,) = (tmp_path / "far" / "catalogues").glob("*-00000002-*")
    last.unlink()
    (fault,) = offsite_copies.verify(copy, [fleet.private], expected=newest.digest).faults()
    assert newest.id in fault
    assert "send again" in offsite_copies.verify(copy, [], repository_path=fleet.repository).faults()[0]


def forge(fleet: Fleet, far: Path, folder: str, name: str, document: object) -> None:
    """A catalogue as anybody can make it who has the public key, and can write there."""
    content = catalogue.canonical(document) if isinstance(document, dict) else document
    assert isinstance(content, bytes)
    file = far / folder / f"{name}00000009-{catalogue.sha256(content)}.json.age"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pyrage.encrypt(content, [fleet.identity.to_public()]))


REPOSITORY = "0123456789abcdef0123456789abcdef-"
WHOLE = {"format": offsite_copies.FORMAT, "version": 1, "repository": REPOSITORY[:-1], "files": {}, "carried": {}}
DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "change",
    [
        {"carried": {"../outside": "x"}},
        {"carried": {"/tmp/outside": "x"}},
        {"carried": {"manifests/../../outside/forgotten.jsonl": "x"}},
        {"carried": {"config.json": 7}},
        {"files": {f"packs/ab/../../../outside/{DIGEST}.pack": 1}},
        {"files": {f"manifests/../{'0' * 8}-{DIGEST}.json": 1}},
        {"files": {f"packs/ab/{DIGEST}.pack": -1}},
        {"files": {f"packs/ab/{DIGEST}.pack": "much"}},
        {"files": [], "carried": {}},
        {"format": "something else"},
        {"version": 2},
    ],
    ids=lambda change: json.dumps(change)[:60],
)
def test_a_forged_catalogue_leads_nowhere(fleet: Fleet, tmp_path: Path, change: dict[str, Any]) -> None:
    far = tmp_path / "inside" / "far"
    forge(fleet, far, "catalogues", REPOSITORY, {**WHOLE, **change})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OffsiteError):
        offsite_copies.restore(
            Copy(Destination(str(far))),
            "latest",
            [fleet.private],
            target=str(tmp_path / "target"),
            scratch=str(tmp_path / "inside" / "scratch"),
        )
    after = {file for file in tmp_path.rglob("*") if "scratch" not in file.parts}
    assert after == set(before) and not Path("/tmp/outside").exists()


@pytest.mark.parametrize("content", [b"", b"not JSON", b"[" * 100_000, b'"text"', b"\xff\xfe"])
def test_a_catalogue_that_is_not_one_is_said(fleet: Fleet, tmp_path: Path, content: bytes) -> None:
    forge(fleet, tmp_path / "far", "catalogues", REPOSITORY, content)
    with pytest.raises(DamagedObjectError):
        offsite_copies.verify(Copy(Destination(str(tmp_path / "far"))), [fleet.private])


@pytest.mark.parametrize(
    "document",
    [
        {"path": "/../outside", "kind": "legal", "size": 1, "sha256": DIGEST, "md5": ""},
        {"path": "relative", "kind": "legal", "size": 1, "sha256": DIGEST, "md5": ""},
        {"path": "/a%00b", "kind": "legal", "size": 1, "sha256": DIGEST, "md5": ""},
        {"path": "/a", "kind": "../..", "size": 1, "sha256": DIGEST, "md5": ""},
        {"path": "/a", "kind": "legal", "size": 1, "sha256": "../../outside", "md5": ""},
        {"path": "/a", "kind": "legal", "size": None, "sha256": DIGEST, "md5": ""},
        "text",
    ],
    ids=lambda document: str(document)[:50],
)
def test_forged_documents_lead_nowhere(fleet: Fleet, tmp_path: Path, document: object) -> None:
    listed = {"format": offsite_documents.FORMAT, "version": 1, "host": "pc2", "documents": [document]}
    forge(fleet, tmp_path / "far", "documents/pc2/catalogues", "", listed)
    with pytest.raises(DamagedObjectError):
        offsite_documents.restore(
            Copy(Destination(str(tmp_path / "far"))), "pc2", [fleet.private], str(tmp_path / "target")
        )
    assert not list((tmp_path / "target").iterdir())


class Endless(PlainHandler):
    """Goes on sending, whatever was asked for."""

    def do_GET(self) -> None:
        if "Range" in self.headers or self.path.endswith("newest") or "/catalogues/" in self.path:
            return super().do_GET()
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 20))
        except OSError:
            self.close_connection = True


def test_an_object_without_an_end_is_not_waited_for(fleet: Fleet, tmp_path: Path) -> None:
    with served(type("Whole", (PlainHandler,), {"root": tmp_path / "far"})) as port:
        fleet.send(fleet.copy(port))
    with served(type("Without", (Endless,), {"root": tmp_path / "far"})) as port:
        checked = offsite_copies.verify(fleet.copy(port), [fleet.private], level="data")
        assert len(checked.damaged) == checked.objects
        assert set(checked.damaged.values()) == {"The object is larger than it can be"}


class Maze(PlainHandler):
    """Speaks WebDAV, and has a folder in every folder."""

    def do_PROPFIND(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.rstrip("/")
        folder = "<resourcetype><collection/></resourcetype>"
        listed = "".join(
            f"<response><href>{name}</href><propstat><prop>{folder}</prop></propstat></response>"
            for name in (path + "/", path + "/deeper/", path + "/../up/", "/elsewhere/")
        )
        self._answer(207, f'<?xml version="1.0"?><multistatus xmlns="DAV:">{listed}</multistatus>'.encode())


class Bomb(Maze):
    """Answers with entities that would grow without an end."""

    def do_PROPFIND(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        self._answer(207, f'<?xml version="1.0"?>{bomb}<multistatus xmlns="DAV:">&b;</multistatus>'.encode())


@pytest.mark.parametrize(
    ("handler", "said"), [(Maze, "without an end"), (Bomb, "not one of WebDAV")], ids=lambda one: str(one)[-20:]
)
def test_a_listing_without_an_end_is_not_followed(
    fleet: Fleet, tmp_path: Path, handler: type[PlainHandler], said: str
) -> None:
    with served(type("Hostile", (handler,), {"root": tmp_path / "far"})) as port:
        with pytest.raises(OffsiteError, match=said):
            fleet.send(fleet.copy(port))
