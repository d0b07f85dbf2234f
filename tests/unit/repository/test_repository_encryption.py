# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""An encrypted repository: what it shows, who opens it, and what happens to somebody who changes it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils import age_keys
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import encryption
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import DamagedError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.index import Index
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import (
    Repository,
    canonical,
    sha256,
)
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

pyrage = pytest.importorskip("pyrage")
pytest.importorskip("cryptography")

SECRET = b"the launch code is 0000"


class Sealed:
    """A tree with a secret in it, an encrypted repository, its identity and a stranger's."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.identity, self.public = self.key("identity")
        self.stranger, self.foreign = self.key("stranger")
        world.write({"secret-plan.txt": SECRET, "large": os.urandom(300_000) + SECRET * 9, "empty": b""})
        Repository.init(world.repository, 0.0, recipients=[self.public])

    def key(self, name: str) -> tuple[str, str]:
        made = pyrage.x25519.Identity.generate()
        file = self.world.folder / name
        file.write_text(f"# made for a test\n{made}\n")
        return str(file), str(made.to_public())

    def take(self, identity: Optional[str] = None, **options: Any) -> Any:
        wanted = snapshots.Wanted("pc2", (str(self.world.tree),))
        return snapshots.take_snapshot(
            self.world.repository, wanted, SystemClock(), identity_files=[identity or self.identity], **options
        )

    def faults(self, **options: Any) -> list[str]:
        return snapshots.verify_repository(self.world.repository, identity_files=[self.identity], **options).faults()

    def files(self, folder: str = "") -> list[Path]:
        return [file for file in sorted(Path(self.world.repository, folder).rglob("*")) if file.is_file()]


@pytest.fixture
def sealed(world: Any) -> Sealed:
    return Sealed(world)


def test_what_is_taken_comes_back_and_nothing_of_it_is_readable(sealed: Sealed) -> None:
    assert sealed.take().published
    assert not sealed.take(check=True).changes
    (sealed.world.tree / "another").write_bytes(SECRET[::-1])
    assert sealed.take().changes.added == [f"{sealed.world.tree}/another"]
    for level in ("manifest", "data", "files"):
        assert sealed.faults(level=level) == []
    sealed.world.restore(identity_files=[sealed.identity])
    for name in ("secret-plan.txt", "large", "empty", "another"):
        assert sealed.world.restored(name).read_bytes() == (sealed.world.tree / name).read_bytes()
    plain_name = bytes.fromhex(sha256(SECRET))
    for file in sealed.files():
        content = file.read_bytes()
        assert SECRET not in content and b"secret-plan" not in content and plain_name not in content, file


def test_one_file_comes_back_by_its_path(sealed: Sealed) -> None:
    sealed.world.write({f"folder-{number % 9}/{number}": str(number).encode() for number in range(1500)})
    sealed.take()
    done = sealed.world.restore(include=[f"{sealed.world.tree}/folder-4/13"], identity_files=[sealed.identity])
    assert done.created == [f"{sealed.world.tree}/folder-4/13"]
    assert sealed.world.restored("folder-4/13").read_bytes() == b"13"


def test_snapshots_are_listed_without_a_key_and_nothing_else_is_done(sealed: Sealed) -> None:
    sealed.take()
    listed, damaged = snapshots.list_snapshots(sealed.world.repository)
    assert len(listed) == 1 and damaged == []
    wanted = snapshots.Wanted("pc2", (str(sealed.world.tree),))
    for act in (
        lambda: snapshots.take_snapshot(sealed.world.repository, wanted, SystemClock()),
        sealed.world.restore,
        sealed.world.faults,
        lambda: list(snapshots.list_entries(sealed.world.repository, "latest")),
        lambda: snapshots.compare_tree(sealed.world.repository, "latest", "/"),
    ):
        with pytest.raises(ContinuityError, match="is encrypted.*--identity-file"):
            act()
    assert len(snapshots.list_snapshots(sealed.world.repository)[0]) == 1


def test_each_recipient_opens_it_alone(world: Any) -> None:
    keys = [pyrage.x25519.Identity.generate() for _unused in range(2)]
    (world.folder / "public").write_text("# both\n" + "".join(f"{key.to_public()}\n" for key in keys))
    world.write({"a": SECRET})
    Repository.init(world.repository, 0.0, recipients_file=str(world.folder / "public"))
    names = set()
    for key in keys:
        file = world.folder / "one"
        file.write_text(str(key))
        names.add(Repository.open(world.repository, [str(file)]).blocks.name(SECRET))
    assert len(names) == 1


def test_a_stranger_is_told_so(sealed: Sealed) -> None:
    with pytest.raises(ContinuityError, match="None of the given identities opens"):
        sealed.take(sealed.stranger)
    (sealed.world.folder / "nothing").write_text("no key at all")
    with pytest.raises(ContinuityError, match="not an identity"):
        sealed.take(str(sealed.world.folder / "nothing"))
    with pytest.raises(ContinuityError, match="cannot be read"):
        sealed.take("/nonexistent/identity")


@pytest.mark.parametrize("library", ["pyrage", "cryptography.hazmat.primitives.ciphers.aead"])
def test_a_missing_library_is_named(sealed: Sealed, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ContinuityError, match=f"library {library.partition('.')[0]}, which is not installed"):
        sealed.take()
    with pytest.raises(ContinuityError, match=f"library {library.partition('.')[0]}, which is not installed"):
        Repository.init(str(sealed.world.folder / "other"), 0.0, recipients=[sealed.public])
    assert not (sealed.world.folder / "other/config.json").exists()


def test_every_changed_byte_of_a_block_is_noticed_before_it_is_used(sealed: Sealed) -> None:
    blocks = Repository.open(sealed.world.repository, [sealed.identity]).blocks
    name = blocks.name(SECRET)
    kept = blocks.seal(name, 2, len(SECRET), SECRET)
    assert blocks.open(name, 2, len(SECRET), kept) == SECRET
    for place in range(len(kept)):
        spoiled = bytearray(kept)
        spoiled[place] ^= 1
        with pytest.raises(DamagedError):
            blocks.open(name, 2, len(SECRET), bytes(spoiled))
    for other in ((blocks.name(b"x"), 2, len(SECRET)), (name, 1, len(SECRET)), (name, 2, len(SECRET) + 1)):
        with pytest.raises(DamagedError, match="belongs elsewhere"):
            blocks.open(*other, kept)
    for size in range(encryption.OVERHEAD):
        with pytest.raises(DamagedError):
            blocks.open(name, 2, len(SECRET), kept[:size])


def test_damage_to_a_pack_names_the_file(sealed: Sealed) -> None:
    sealed.take()
    (pack,) = sealed.files("packs")
    place = next(
        place
        for file in Index(Repository.open(sealed.world.repository)).files
        for _digest, place in file
        if place.length > 100_000
    )
    content = bytearray(pack.read_bytes())
    content[place.offset + 1000] ^= 4
    pack.write_bytes(bytes(content))
    for level in ("data", "files"):
        assert any(f"{sealed.world.tree}/large" in fault for fault in sealed.faults(level=level))
    failed = sealed.world.restore(identity_files=[sealed.identity]).failed
    assert list(failed) == [f"{sealed.world.tree}/large"]


def test_no_nonce_is_used_twice(sealed: Sealed) -> None:
    for number in range(3):
        sealed.world.write({f"{number}-{name}": os.urandom(50) for name in range(400)})
        sealed.take()
    nonces: Counter[bytes] = Counter()
    for file in Index(Repository.open(sealed.world.repository)).files:
        for _digest, place in file:
            assert place.encryption == encryption.AES_256_GCM
            pack = Path(Repository.open(sealed.world.repository).pack_file(place.pack.hex())).read_bytes()
            nonces[pack[place.offset : place.offset + encryption.NONCE]] += 1
    assert len(nonces) > 1200 and set(nonces.values()) == {1}


def replace_config(repository: str, **changes: Any) -> None:
    file = Path(repository, "config.json")
    config = {**json.loads(file.read_bytes()), **changes}
    config.pop("sha256")
    file.write_bytes(canonical({**config, "sha256": sha256(canonical(config))}))


def test_a_repository_that_lost_its_encryption_gets_nothing(sealed: Sealed) -> None:
    sealed.take()
    replace_config(sealed.world.repository, features=[])
    with pytest.raises(ContinuityError, match="is not encrypted"):
        sealed.take()
    with pytest.raises(ContinuityError, match="is not encrypted"):
        Repository.init(sealed.world.repository, 0.0, recipients=[sealed.public])


def test_another_data_key_is_not_used(sealed: Sealed) -> None:
    """Whoever can write to the repository can put a key of their own there, for the same recipient."""
    sealed.take()
    before = sealed.files("packs")
    known = age_keys.library().encrypt(b"00" * 32, age_keys.recipients([sealed.public]), armored=True).decode()
    replace_config(sealed.world.repository, encryption={"key": known})
    (sealed.world.tree / "new").write_bytes(SECRET * 2)
    with pytest.raises(ContinuityError, match="is not the one of the snapshots before"):
        sealed.take()
    assert sealed.files("packs") == before


@pytest.mark.parametrize("key", ["", "no age file", 5])
def test_a_spoiled_data_key_is_said(sealed: Sealed, key: object) -> None:
    replace_config(sealed.world.repository, encryption={"key": key})
    with pytest.raises(ContinuityError, match="identities opens|cannot be read"):
        sealed.take()


def test_the_key_never_appears_in_output(sealed: Sealed) -> None:
    private = Path(sealed.identity).read_text().splitlines()[1]
    data_key = pyrage.decrypt(
        json.loads(Path(sealed.world.repository, "config.json").read_bytes())["encryption"]["key"].encode(),
        [pyrage.x25519.Identity.from_str(private)],
    ).decode()
    said = io.StringIO()
    options = ["--repository", sealed.world.repository, "--identity-file"]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        assert main(["init", "--repository", sealed.world.repository, "--format", "json"]) == 0
        assert main(["snapshot", *options, sealed.identity, str(sealed.world.tree), "--format", "json"]) == 0
        assert main(["verify", *options, sealed.identity]) == 0
        assert main(["snapshots", *options, sealed.identity, "latest", "--format", "json"]) == 0
        assert main(["restore", *options, sealed.identity, "latest", "--target", str(sealed.world.target)]) == 0
        assert main(["verify", *options, sealed.stranger]) == 2
        assert main(["init", "--repository", f"{sealed.world.repository}-2", "--recipient", private]) == 2
    text = said.getvalue()
    assert "a private key, where a public one belongs" in text and "secret-plan.txt" in text
    for secret in (private, data_key.strip(), private[20:40]):
        assert secret not in text
    with contextlib.suppress(ContinuityError):
        assert data_key.strip() not in repr(vars(Repository.open(sealed.world.repository, [sealed.identity])))


def test_a_key_is_derived_as_the_format_says() -> None:
    """RFC 5869 with SHA-256, no salt; the expected values are from `openssl kdf`."""
    assert encryption.derive(bytes(range(32)), b"fleetops.continuity names 1").hex() == (
        "ac1917404adba26655cc332b6bc9c9b921bcc64ec831d46a1111667e2ade420b"
    )
