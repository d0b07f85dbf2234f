# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError


def test_a_sound_repository_is_sound_and_counted(world: Any) -> None:
    from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots

    world.write({"a": b"1" * 1000, "b/c": os.urandom(3_000_000)})
    world.take()
    world.take()
    verified = snapshots.verify_repository(world.repository)
    assert verified.faults() == []
    assert (verified.snapshots, verified.entries, verified.files) == (2, 8, 2)
    assert verified.bytes == 3_001_000


def test_each_damaged_file_is_named(world: Any) -> None:
    world.write({f"file-{number}": os.urandom(500) for number in range(10)})
    world.take()
    (pack,) = Path(world.repository, "packs").glob("*/*")
    content = bytearray(pack.read_bytes())
    where = content.index((world.tree / "file-4").read_bytes())
    content[where + 250] ^= 0x10
    pack.write_bytes(bytes(content))
    for level in ("data", "files"):
        of_pack, of_file = world.faults(level=level)
        assert of_pack.startswith(str(pack))
        assert f"{world.tree}/file-4" in of_file and "was changed" in of_file
    assert world.faults(level="manifest") == []


def test_a_missing_pack_is_named_at_every_level(world: Any) -> None:
    world.write({"a": os.urandom(500)})
    world.take()
    (pack,) = Path(world.repository, "packs").glob("*/*")
    pack.unlink()
    for level in ("manifest", "data", "files"):
        assert any(fault.startswith(str(pack)) for fault in world.faults(level=level))


def test_swapped_packs_are_noticed(world: Any) -> None:
    for number in range(2):
        world.write({f"{number}": os.urandom(500)})
        world.take()
    one, other = sorted(Path(world.repository, "packs").glob("*/*"))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert world.faults()


def test_a_pack_that_was_added_is_listed_and_is_no_fault(world: Any) -> None:
    from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots

    world.write({"a": b"1"})
    world.take()
    stray = Path(world.repository, "packs", "ab", "ab" * 32 + ".pack")
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"FCPACK1\n")
    verified = snapshots.verify_repository(world.repository)
    assert verified.faults() == [] and verified.unused == [f"packs/ab/{'ab' * 32}.pack"]


def test_any_single_flipped_bit_of_an_index_or_a_manifest_is_noticed(world: Any) -> None:
    world.write({"a": b"1"})
    world.take()
    files = [*Path(world.repository, "index").iterdir(), *Path(world.repository, "manifests", "pc2").iterdir()]
    for file in files:
        content = file.read_bytes()
        for place in range(0, len(content), 7):
            spoiled = bytearray(content)
            spoiled[place] ^= 1 << place % 8
            file.write_bytes(bytes(spoiled))
            assert world.faults(level="manifest"), (file, place)
        file.write_bytes(content)
    assert world.faults() == []


def test_a_block_with_another_intact_copy_is_no_fault_of_its_files(world: Any) -> None:
    from ansible_collections.fleetops.continuity.plugins.module_utils.repository.index import Index
    from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository
    from ansible_collections.fleetops.continuity.plugins.module_utils.repository.packs import PackWriter, scan

    world.write({"large": os.urandom(700_000)})
    world.take()
    repository = Repository.open(world.repository)
    (pack,) = Path(world.repository, "packs").glob("*/*")
    content, writer = bytearray(pack.read_bytes()), PackWriter(repository, "pc2")
    for digest, place in reversed(list(scan(pack))):
        payload = bytes(content[place.offset : place.offset + place.stored])
        writer.add(digest, place.length, place.compression, payload)
    writer.flush()
    writer.sync()
    Index(repository).publish(writer.published, "pc2")
    content[200_000] ^= 1
    pack.write_bytes(bytes(content))
    for level in ("data", "files"):
        (only,) = world.faults(level=level)
        assert only.startswith(str(pack))
    assert world.restore().failed == {}
    assert world.restored("large").read_bytes() == (world.tree / "large").read_bytes()


def test_all_data_is_sound_after_a_flipped_bit_only_where_nothing_that_a_block_holds_has_changed(world: Any) -> None:
    from ansible_collections.fleetops.continuity.plugins.module_utils.repository.packs import scan
    from ansible_collections.fleetops.continuity.plugins.module_utils.repository.scrubbing import scrub

    world.write({"a": os.urandom(20), "b": os.urandom(30)})
    world.take()
    (pack,) = Path(world.repository, "packs").glob("*/*")
    content = pack.read_bytes()
    packed = [place for _digest, place in scan(pack) if place.compression]
    unnoticed = []
    for bit in range(0, len(content) * 8, 3):
        spoiled = bytearray(content)
        spoiled[bit // 8] ^= 1 << bit % 8
        pack.write_bytes(bytes(spoiled))
        if not world.faults(level="data"):
            unnoticed.append(bit)
            assert any(place.offset <= bit // 8 < place.offset + place.stored for place in packed)
            assert [damage.kind for damage in scrub(Path(world.repository)).damages] == ["pack"]
    assert len(unnoticed) < len(content) // 20
    pack.write_bytes(content)
    assert world.faults(level="data") == []


def test_a_pack_with_something_beside_its_blocks_is_noticed(world: Any) -> None:
    world.write({"a": os.urandom(500)})
    world.take()
    (pack,) = Path(world.repository, "packs").glob("*/*")
    content = pack.read_bytes()
    for changed in (content + b"\0", content[:-1], content[:8]):
        pack.write_bytes(changed)
        assert any(fault.startswith(str(pack)) for fault in world.faults(level="data"))


def test_a_host_of_which_there_is_nothing_is_not_sound(world: Any) -> None:
    world.write({"file": b"content"})
    world.take(host="pc2")
    assert world.faults(host="pc2") == []
    with pytest.raises(ContinuityError, match="no snapshot of pc3"):
        world.faults(host="pc3")
