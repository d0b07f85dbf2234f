# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random and hostile changes to every kind of file of a repository, with and without their names made to fit.

Whatever stands there: one clear error or a report, nothing outside of the target, little memory, little time.
``CONTINUITY_ATTACKS`` says how many changes of each kind; ``ATTACK_SEED`` chooses others.
"""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import shutil
import struct
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import canonical, sha256
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.verifying import Verified

FUZZ = int(os.environ.get("CONTINUITY_ATTACKS", "15"))
SEED = int(os.environ.get("ATTACK_SEED", "20260131"))
SECONDS = 10.0
MEMORY = 150_000
"""KB by which the peak may rise over a whole test."""
NUMBERS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**24, 2**24 + 1)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 1e308, 0.5, "", "..", "/", "../../etc", "/etc/passwd", "%2F"),
    *("\ud800", "\x00", "a" * 100_000, [], {}, [[]], {"": None}, ["x"] * 1000, "ab" * 32, "0" * 64, "NaN"),
)


def chosen_bytes(chance: random.Random, content: bytes) -> bytes:
    """A few random changes: bytes replaced, taken out, put in, doubled, cut off."""
    spoiled = bytearray(content)
    for _unused in range(chance.randrange(1, 4)):
        at = chance.randrange(len(spoiled) + 1)
        action = chance.randrange(5)
        if action == 0 and at < len(spoiled):
            spoiled[at] ^= 1 << chance.randrange(8)
        elif action == 1:
            del spoiled[at : at + chance.randrange(1, 60)]
        elif action == 2:
            spoiled[at:at] = chance.randbytes(chance.randrange(1, 60))
        elif action == 3:
            spoiled[at:at] = spoiled[at : at + chance.randrange(1, 200)]
        elif chance.random() < 0.3:
            del spoiled[at:]
    return bytes(spoiled)


def chosen_value(chance: random.Random, document: Any) -> bytes:
    """Canonical JSON in which one thing is another."""
    spoiled = copy.deepcopy(document)
    node, key = spoiled, chance.choice(sorted(spoiled))
    while isinstance(node[key], (dict, list)) and node[key] and chance.random() < 0.8:
        node = node[key]
        key = chance.choice(sorted(node)) if isinstance(node, dict) else chance.randrange(len(node))
    if isinstance(node, dict) and chance.random() < 0.2:
        del node[key]
    else:
        node[key] = chance.choice(VALUES)
    text = json.dumps(spoiled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def spoil_manifest(chance: random.Random, repository: Path) -> None:
    file = chance.choice(sorted(repository.glob("manifests/*/*.json")))
    content = file.read_bytes()
    spoiled = chosen_bytes(chance, content) if chance.random() < 0.4 else chosen_value(chance, json.loads(content))
    if chance.random() < 0.8:
        file.unlink()
        file = file.with_name(f"{file.name[:8]}-{sha256(spoiled)}.json")
    file.write_bytes(spoiled)


def spoil_index(chance: random.Random, repository: Path) -> None:
    file = chance.choice(sorted(repository.glob("index/*.index")))
    content = bytearray(file.read_bytes())
    if chance.random() < 0.3:
        spoiled = chosen_bytes(chance, bytes(content))
    else:
        # A number of the head, or of a record.
        packs, records = struct.unpack_from(">II", content, 8)
        number = chance.randrange(records)
        start = 16 + 32 * packs + 52 * number + 32
        place = chance.choice([8, 12, *range(start, start + 16, 4)])
        struct.pack_into(">I", content, place, chance.choice(NUMBERS))
        if chance.random() < 0.3:
            content[start + 16 + chance.randrange(4)] = chance.randrange(256)
        spoiled = bytes(content)
    file.unlink()
    file.with_name(f"{sha256(spoiled)}.index" if chance.random() < 0.9 else file.name).write_bytes(spoiled)


def spoil_pack(chance: random.Random, repository: Path) -> None:
    """The index goes on naming the pack, so that its blocks are really read."""
    file = chance.choice(sorted(repository.glob("packs/*/*.pack")))
    spoiled = chosen_bytes(chance, file.read_bytes())
    if chance.random() < 0.3:
        file.write_bytes(spoiled)
        return
    old, new = bytes.fromhex(file.name[:64]), sha256(spoiled)
    final = repository / "packs" / new[:2] / f"{new}.pack"
    final.parent.mkdir(exist_ok=True)
    file.unlink()
    final.write_bytes(spoiled)
    for index in sorted(repository.glob("index/*.index")):
        content = index.read_bytes()
        if old in content:
            index.unlink()
            content = content.replace(old, bytes.fromhex(new))
            index.with_name(f"{sha256(content)}.index").write_bytes(content)


def spoil_config(chance: random.Random, repository: Path) -> None:
    file = repository / "config.json"
    document = json.loads(file.read_bytes())
    if chance.random() < 0.5:
        file.write_bytes(chosen_bytes(chance, file.read_bytes()))
        return
    bare = {key: value for key, value in document.items() if key != "sha256"}
    bare[chance.choice(sorted(bare))] = chance.choice([value for value in VALUES if value != "\ud800"])
    file.write_bytes(canonical({**bare, "sha256": sha256(canonical(bare))}))


def spoil_notes(chance: random.Random, repository: Path) -> None:
    """Pins, lines of forgotten snapshots, records of who holds a lock."""
    found = [*repository.glob("pins/*"), *repository.glob("manifests/*/*.jsonl"), *repository.glob("locks/*.owner")]
    file = chance.choice(sorted(found))
    content = file.read_bytes()
    if chance.random() < 0.5:
        file.write_bytes(chosen_bytes(chance, content))
    else:
        lines = content.splitlines()
        place = chance.randrange(len(lines))
        lines[place] = chosen_value(chance, json.loads(lines[place])).strip()
        file.write_bytes(b"\n".join([*lines, b""]))


def spoil_neighbours(chance: random.Random, repository: Path) -> None:
    """Names that nobody published, among those that somebody did."""
    name = chance.choice(["", "x", "0" * 64, "\udcff", "a" * 200, ".json", "00000001-" + "0" * 64, "..."])
    suffix = chance.choice(["", ".json", ".index", ".pack", ".owner", ".lock", ".jsonl", ".sig"])
    folder = chance.choice(sorted(path for path in [repository, *repository.rglob("*")] if path.is_dir()))
    stray = folder / (name + suffix)
    if name + suffix and not os.path.lexists(stray):
        action = chance.randrange(3)
        if action == 0:
            stray.mkdir()
        elif action == 1:
            stray.symlink_to(chance.choice(["/etc/passwd", "/nonexistent", ".", "/dev/zero"]))
        else:
            stray.write_bytes(chance.randbytes(chance.randrange(100)))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three snapshots: one was forgotten, one is pinned."""
    place = tmp_path_factory.mktemp("sound")
    tree = place / "tree"
    (tree / "folder").mkdir(parents=True)
    (tree / "folder/link").symlink_to("../large")
    chance = random.Random(SEED)
    for number in range(3):
        (tree / "document.json").write_text(json.dumps({"number": number}))
        (tree / "large").write_bytes(b"line\n" * 60_000 + chance.randbytes(5000))
        (tree / f"folder/{number}").write_bytes(chance.randbytes(300))
        wanted = snapshots.Wanted("pc2", (str(tree),), pin=True if number == 1 else None)
        snapshots.take_snapshot(str(place / "repository"), wanted, SystemClock())
    one = maintenance.Dropping(maintenance.retention_from({"keep_last": 1}), ())
    assert len(maintenance.forget(str(place / "repository"), one, SystemClock()).forgetting.dropped) == 1
    return place


def everything_of(folder: Path) -> dict[str, object]:
    return {
        str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def attempts(repository: str, tree: str, target: str, good: str) -> list[Callable[[], object]]:
    """Everything that anybody may want of a repository, reading first. ``good`` is another copy of it."""
    drop_old = maintenance.Dropping(maintenance.retention_from({"keep_last": 1}), ())

    def take() -> object:
        return snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (tree,)), SystemClock())

    return [
        lambda: snapshots.list_snapshots(repository),
        lambda: list(snapshots.list_entries(repository, "latest")),
        lambda: snapshots.verify_repository(repository, level="manifest"),
        lambda: snapshots.verify_repository(repository),
        lambda: snapshots.compare_tree(repository, "latest", "/"),
        lambda: snapshots.restore_snapshot(repository, "latest", target=target),
        lambda: maintenance.scrub(repository, maintenance.Scrubbing(), SystemClock()),
        take,
        lambda: maintenance.forget(repository, drop_old, SystemClock(), check=True),
        lambda: maintenance.forget(repository, drop_old, SystemClock(), prune=True, max_unused=0.0),
        lambda: maintenance.scrub(repository, maintenance.Scrubbing(heal=True, copies=(good,)), SystemClock()),
        lambda: maintenance.prune(repository, SystemClock(), max_unused=0.0),
        take,
    ]


SPOILERS = [spoil_manifest, spoil_index, spoil_pack, spoil_config, spoil_notes, spoil_neighbours]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__.removeprefix("spoil_"))
def test_nothing_but_one_clear_word(sound: Path, tmp_path: Path, spoil: Callable[[random.Random, Path], None]) -> None:
    tree = sound / "tree"
    before = everything_of(tree)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for number in range(FUZZ):
        chance = random.Random(f"{SEED} {spoil.__name__} {number}")
        place = tmp_path / str(number)
        repository = str(place / "repository")
        shutil.copytree(sound / "repository", repository)
        spoil(chance, Path(repository))
        for attempt, act in enumerate(
            attempts(repository, str(tree), str(place / "target"), str(sound / "repository"))
        ):
            begun = time.monotonic()
            told = f"{spoil.__name__} {number}, attempt {attempt}, ATTACK_SEED={SEED}"
            try:
                act()
            except ContinuityError as error:
                refused += 1
                assert str(error), told
            except Exception as error:
                raise AssertionError(f"{told}: {error!r}") from error
            assert time.monotonic() - begun < SECONDS, told
        assert {path.name for path in place.iterdir()} <= {"repository", "target"}
        shutil.rmtree(place)
    assert everything_of(tree) == before
    assert refused or spoil in (spoil_notes, spoil_neighbours)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEMORY


def put_pipe(file: Path) -> None:
    os.mkfifo(file)


def put_link(file: Path) -> None:
    file.symlink_to("/dev/zero")


def put_folder(file: Path) -> None:
    file.mkdir()


def put_hole(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 41)


@pytest.mark.parametrize("put", [put_pipe, put_link, put_folder, put_hole], ids=lambda put: put.__name__)
@pytest.mark.parametrize(
    "published",
    ["config.json", "manifests/*/*3-*.json", "index/*.index", "packs/*/*.pack", "pins/*", "manifests/*/*.jsonl"],
)
def test_what_would_be_read_for_ever_is_not_read(
    sound: Path, tmp_path: Path, published: str, put: Callable[[Path], None]
) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(sound / "repository", repository)
    file = sorted(repository.glob(published))[0]
    file.unlink()
    put(file)
    begun = time.monotonic()
    noticed = False
    for act in attempts(str(repository), str(sound / "tree"), str(tmp_path / "target"), str(sound / "repository")):
        try:
            found = act()
            noticed = noticed or (isinstance(found, (Verified, maintenance.Upkeep)) and bool(found.faults()))
        except ContinuityError:
            noticed = True
    assert noticed and time.monotonic() - begun < SECONDS
