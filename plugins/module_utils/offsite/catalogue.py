# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogues: the complete list of what makes up a copy, published last (docs/off-site.md)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence, TypeVar

from .encryption import Identities
from .faults import DamagedObjectError, MissingObjectError, OffsiteError, WrongIdentityError
from .store import ObjectStore

AGE = ".age"
_NAME = re.compile(r"(?:([0-9a-f]{32})-)?(\d{8})-([0-9a-f]{64})\.json\.age")
_NEWEST = "newest"
_LONGEST_NAME = 4096
_LARGEST = 1 << 30
_TRIED = 5
Content = TypeVar("Content")


@dataclass(frozen=True)
class Named:
    """A catalogue as its object's name has it. ``owner`` is the repository's id (empty: of documents),
    ``digest`` the SHA-256 of what it holds."""

    name: str
    owner: str
    number: int
    digest: str


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON object that is published."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # As in manifests: a lone surrogate has no UTF-8 and is written as an escape.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parse(folder: str, name: str) -> Optional[Named]:
    found = _NAME.fullmatch(name[len(folder) :]) if name.startswith(folder) else None
    return Named(name, found.group(1) or "", int(found.group(2)), found.group(3)) if found else None


def following(folder: str, owner: str, before: Optional[Named], content: bytes) -> Named:
    """The name under which the next catalogue is published."""
    number = 1 if before is None else before.number + 1
    digest = sha256(content)
    start = f"{owner}-" if owner else ""
    return Named(f"{folder}{start}{number:08d}-{digest}.json{AGE}", owner, number, digest)


def published(store: ObjectStore, folder: str, scratch: Path) -> list[Named]:
    """The catalogues in a folder, the newest last. Where nothing can be listed, at most the newest."""
    if store.can_list:
        found = (parse(folder, name) for name, _size in store.list(folder))
        return sorted(filter(None, found), key=lambda one: (one.number, one.digest))
    if store.peek(folder + _NEWEST) is None:
        return []
    pointer = scratch / "newest"
    store.get(folder + _NEWEST, pointer, _LONGEST_NAME)
    named = parse(folder, folder + pointer.read_text("utf-8", "replace").strip())
    if named is None:
        raise DamagedObjectError("This does not name a catalogue", where=f"{store.where}/{folder}{_NEWEST}")
    return [named]


def point_to(store: ObjectStore, folder: str, named: Named, scratch: Path) -> None:
    """Leave the name of the newest catalogue where nothing can be listed."""
    if not store.can_list:
        pointer = scratch / "newest"
        pointer.write_text(named.name[len(folder) :] + "\n")
        store.put(folder + _NEWEST, pointer)


def newest_sound(
    store: ObjectStore,
    known: Sequence[Named],
    identities: Identities,
    scratch: Path,
    wanted: str,
    read: Callable[[dict[str, Any], str], Content],
) -> tuple[Content, dict[str, str]]:
    """(what the newest catalogue says that can be read, what is wrong with newer ones). ``read`` gets a document and
    where it stands. Raises what is wrong with the newest when no other can be read either."""
    lost: dict[str, OffsiteError] = {}
    for named in reversed(known[-_TRIED:]):
        try:
            content = read(fetch(store, named, identities, scratch, wanted), f"{store.where}/{named.name}")
        except (DamagedObjectError, MissingObjectError, WrongIdentityError) as error:
            lost[named.name] = error
            continue
        return content, {name: f"{error.what}: an older catalogue is used" for name, error in lost.items()}
    raise next(iter(lost.values()))


def fetch(store: ObjectStore, named: Named, identities: Identities, scratch: Path, wanted: str) -> dict[str, Any]:
    """What a catalogue says. Raises DamagedObjectError, WrongIdentityError, OffsiteError."""
    where = f"{store.where}/{named.name}"
    sealed, plain = scratch / "catalogue.age", scratch / "catalogue"
    store.get(named.name, sealed, _LARGEST)
    if identities.decrypt(sealed, plain, where) != named.digest:
        raise DamagedObjectError("The catalogue is not what its name says", where=where)
    try:
        document = json.loads(plain.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedObjectError("The catalogue is not JSON", where=where) from error
    if not isinstance(document, dict) or document.get("format") != wanted:
        raise DamagedObjectError("This is not the catalogue of a copy", where=where)
    if document.get("version") != 1:
        raise OffsiteError("The catalogue is of a later version", where=where, fix="Use a newer fleetops.continuity")
    return document
