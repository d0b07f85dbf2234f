# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import DamagedError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.index import (
    MANY_FILES,
    Index,
    IndexFile,
    publish_records,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.packs import PackWriter, Place, scan


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.init(str(tmp_path / "repository"), 0.0)[0]


def stored(repository: Repository, contents: list[bytes]) -> list[tuple[bytes, Place]]:
    packs = PackWriter(repository, "pc2")
    for content in contents:
        packs.add(hashlib.sha256(content).digest(), len(content), 0, content)
    packs.flush()
    packs.sync()
    return packs.published


def test_every_block_is_found_where_it_stands(repository: Repository) -> None:
    contents = [f"block {number}".encode() for number in range(500)]
    index = Index(repository)
    index.publish(stored(repository, contents), "pc2")
    for opened in (index, Index(repository)):
        for content in contents:
            (place,) = opened.places(hashlib.sha256(content).digest())
            pack = repository.pack_file(place.pack.hex()).read_bytes()
            assert pack[place.offset : place.offset + place.stored] == content
    assert list(Index(repository).places(hashlib.sha256(b"other").digest())) == []


def test_the_index_can_be_rebuilt_from_the_packs(repository: Repository) -> None:
    blocks = stored(repository, [b"one", b"two", b"three"])
    (pack,) = repository.packs.glob("*/*.pack")
    assert list(scan(pack)) == blocks
    assert hashlib.sha256(pack.read_bytes()).hexdigest() == pack.stem


def test_a_pack_that_was_cut_is_noticed(repository: Repository) -> None:
    stored(repository, [b"one", b"two"])
    (pack,) = repository.packs.glob("*/*.pack")
    pack.write_bytes(pack.read_bytes()[:-1])
    with pytest.raises(DamagedError):
        list(scan(pack))


def test_a_block_in_two_packs_has_two_places(repository: Repository) -> None:
    for contents in ([b"both", b"a"], [b"both", b"b"]):
        Index(repository).publish(stored(repository, contents), "pc2")
    assert len(list(Index(repository).places(hashlib.sha256(b"both").digest()))) == 2


def test_many_index_files_become_one(repository: Repository) -> None:
    contents = [f"block {number}".encode() for number in range(MANY_FILES + 2)]
    for content in contents:
        Index(repository).publish(stored(repository, [content]), "pc2")
    Index(repository).merge("pc2")
    assert len(list(repository.index.iterdir())) == 1
    assert all(list(Index(repository).places(hashlib.sha256(content).digest())) for content in contents)


def test_a_changed_index_file_is_left_out_and_named(repository: Repository) -> None:
    Index(repository).publish(stored(repository, [b"one"]), "pc2")
    (file,) = repository.index.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert [fault.where for fault in Index(repository).damaged] == [str(file)]
    with pytest.raises(DamagedError):
        IndexFile(file)


def test_blocks_of_a_pack_that_is_gone_are_unknown_to_writers(repository: Repository) -> None:
    Index(repository).publish(stored(repository, [b"one"]), "pc2")
    (pack,) = repository.packs.glob("*/*.pack")
    pack.unlink()
    index = Index(repository)
    assert hashlib.sha256(b"one").digest() not in index
    assert {name.hex() for name in index.missing} == {pack.stem}


def test_digests_with_the_same_beginning_and_an_empty_index_are_told_apart(repository: Repository) -> None:
    alike = [b"same" + bytes([number]) * 28 for number in range(20)]
    edges = [b"\0" * 32, b"\xff" * 32]
    place = Place(b"p" * 32, 56, 10, 10, 0)
    file = publish_records(repository, [(digest, place) for digest in (*alike, *edges)], "pc2")
    index_file = IndexFile(file)
    for digest in (*alike, *edges):
        assert list(index_file.find(digest)) == [place]
    for unknown in (b"same" + b"\xff" * 28, b"samf" + bytes(28), b"\xff" * 31 + b"\xfe", b"\0" * 31 + b"\1"):
        assert list(index_file.find(unknown)) == []
    assert list(IndexFile(publish_records(repository, [], "pc2")).find(alike[0])) == []
