# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import manifests
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import DamagedError, RepositoryError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository, canonical, sha256


def manifest_files(world: Any) -> list[Path]:
    return sorted(Path(world.repository, "manifests", "pc2").iterdir())


def three(world: Any) -> list[Path]:
    for number in range(3):
        world.write({"state.json": json.dumps(number).encode()})
        world.take()
    return manifest_files(world)


def test_each_manifest_names_the_one_before(world: Any) -> None:
    files = three(world)
    loaded = [manifests.load(file) for file in files]
    assert [one.sequence for one in loaded] == [1, 2, 3]
    assert [one.previous for one in loaded] == [None, loaded[0].digest, loaded[1].digest]
    assert [file.name for file in files] == [
        f"{one.sequence:08d}-{sha256(file.read_bytes())}.json" for one, file in zip(loaded, files)
    ]
    assert [canonical(one.document()) for one in loaded] == [file.read_bytes() for file in files]
    assert manifests.chain_faults(loaded) == []


def test_a_manifest_that_was_taken_away_is_noticed(world: Any) -> None:
    three(world)[1].unlink()
    assert world.faults() == ["pc2: snapshot number 2 was taken away"]


def test_a_newest_manifest_that_was_taken_away_is_noticed_by_who_noted_it(world: Any) -> None:
    files = three(world)
    digest = files[2].name[9:73]
    assert world.faults(expected=digest) == []
    files[2].unlink()
    assert world.faults() == []
    assert len(world.faults(expected=digest)) == 1


def test_a_manifest_that_was_put_back_in_anothers_place_is_noticed(world: Any) -> None:
    files = three(world)
    stolen = json.loads(files[0].read_bytes())
    stolen.update(sequence=2)
    content = canonical(stolen)
    files[1].unlink()
    files[1].with_name(f"00000002-{sha256(content)}.json").write_bytes(content)
    assert len(world.faults()) == 2


def test_a_manifest_under_another_name_or_host_is_refused(world: Any) -> None:
    file = three(world)[0]
    other = file.parent.parent / "mainpc" / file.name
    other.parent.mkdir()
    other.write_bytes(file.read_bytes())
    with pytest.raises(DamagedError, match="another name"):
        manifests.load(other)
    renamed = file.with_name("00000009" + file.name[8:])
    file.rename(renamed)
    with pytest.raises(DamagedError, match="another name"):
        manifests.load(renamed)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": "1"},
        {"sequence": -1},
        {"host": 5},
        {"entries": [{"block": "zz", "count": 1, "first": "/"}]},
        {"entries": {}},
        {"totals": {}},
        {"problems": [5]},
        {"previous": "x"},
        {"sources": "abc", "tags": 5},
        {"format": "something else"},
    ],
)
def test_a_malformed_manifest_is_refused(world: Any, change: dict[str, Any]) -> None:
    file = three(world)[0]
    content = canonical({**json.loads(file.read_bytes()), **change})
    bad = file.with_name(f"00000001-{sha256(content)}.json")
    bad.write_bytes(content)
    with pytest.raises(DamagedError):
        manifests.load(bad)


def test_a_snapshot_is_found_by_the_start_of_its_id_by_latest_and_by_restore_point(world: Any) -> None:
    world.write({"a": b"1"})
    first = world.take(restore_point="rp-1").manifest
    second = world.take(host="mainpc", restore_point="rp-1").manifest
    repository = Repository.open(world.repository)
    assert manifests.find(repository, first.id[:6]).digest == first.digest
    assert manifests.find(repository, "latest").digest == second.digest
    assert manifests.find(repository, "latest", "pc2").digest == first.digest
    assert manifests.find(repository, "rp-1", "mainpc").digest == second.digest
    with pytest.raises(RepositoryError, match="2 hosts or snapshots match"):
        manifests.find(repository, "rp-1")
    with pytest.raises(RepositoryError, match="There is no"):
        manifests.find(repository, "ffffffff")


def test_the_latest_is_the_last_of_the_chain_when_the_clock_went_back(world: Any) -> None:
    class Backwards(SystemClock):
        def now(self) -> float:
            return super().now() - 86400.0

    world.write({"a": b"1"})
    world.take()
    world.write({"a": b"2"})
    wanted = snapshots.Wanted("pc2", (str(world.tree),))
    second = snapshots.take_snapshot(world.repository, wanted, Backwards()).manifest
    assert manifests.find(Repository.open(world.repository), "latest").digest == second.digest
    assert world.faults() == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"version": 2}, "format version 1"),
        ({"features": ["encryption"]}, "encryption"),
        ({"format": "restic"}, "not the config.json"),
        ({"id": 5}, "not the config.json"),
    ],
)
def test_a_repository_of_another_kind_is_refused(world: Any, config: dict[str, Any], said: str) -> None:
    world.write({"a": b"1"})
    world.take()
    file = Path(world.repository, "config.json")
    changed = {**json.loads(file.read_bytes()), **config}
    del changed["sha256"]
    file.write_bytes(canonical({**changed, "sha256": sha256(canonical(changed))}))
    with pytest.raises(RepositoryError, match=said):
        Repository.open(world.repository)


def test_a_folder_with_something_else_in_it_is_not_made_a_repository(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(RepositoryError, match="something else"):
        Repository.init(str(tmp_path), 0.0)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_where_there_is_no_repository_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no repository here"):
        Repository.open(str(tmp_path))
