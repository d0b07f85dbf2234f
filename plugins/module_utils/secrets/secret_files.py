# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to become of a folder of secrets: decided here, from what is declared and what was found (pure).

The layout, and why, is described on the page ``docs/secret-files.md``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from .faults import SecretError
from .model import Hidden, fingerprint

FILE_MODE = 0o400
DIRECTORY_MODE = 0o711


@dataclass(frozen=True)
class SecretFile:
    """A secret as it is to stand. ``value`` is None where it was not read: in check mode, when reading makes one."""

    name: str
    value: Optional[Hidden]
    uid: int
    gid: int
    version: Optional[str] = None


@dataclass(frozen=True)
class InstalledSecret:
    """A file of the current set. ``intact``: it has the mode, owner and content with which it was written."""

    name: str
    value: Optional[Hidden]
    uid: int
    gid: int
    version: Optional[str] = None
    intact: bool = True


@dataclass(frozen=True)
class Found:
    """What stands in a folder of secrets. ``set`` is the current set, None where there is none.

    ``occupied`` are names in the folder, other than our own, mapped to ``link`` (ours, whatever it leads to),
    ``thing`` (can be unlinked) or ``folder`` (is left alone). ``leftovers`` are what a killed run left.
    """

    exists: bool = False
    ours: bool = False
    mode: int = DIRECTORY_MODE
    set: Optional[str] = None
    key: Optional[Hidden] = None
    secrets: Mapping[str, InstalledSecret] = field(default_factory=dict)
    occupied: Mapping[str, str] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """What becomes of one name: ``added changed owner repaired kept removed``. Nothing here shows a value."""

    name: str
    change: str
    version: Optional[str] = None
    version_before: Optional[str] = None
    fingerprint: Optional[str] = None
    fingerprint_before: Optional[str] = None

    def line(self, before: bool) -> Optional[str]:
        """How it stands in a diff; None where there is nothing."""
        if self.change == ("added" if before else "removed"):
            return None
        version = self.version_before if before else self.version
        shown = self.fingerprint_before if before else self.fingerprint
        note = f" ({self.change})" if not before and self.change in ("owner", "repaired") else ""
        return f"{self.name}: version {version or 'unknown'}, fingerprint {shown or 'unknown'}{note}"


@dataclass(frozen=True)
class Plan:
    """``write`` is written into a new set and ``keep`` linked into it, when ``switch``. ``link`` are names that get
    their link before the switch, since nothing stands there; ``replace`` those at which something else stands;
    ``remove`` are names that are unlinked after it."""

    changes: tuple[Change, ...]
    switch: bool
    write: tuple[SecretFile, ...] = ()
    keep: tuple[SecretFile, ...] = ()
    link: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    narrow: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.switch or self.link or self.replace or self.remove or self.leftovers or self.narrow)

    @property
    def changed_names(self) -> list[str]:
        """Names whose value is another one than before, or was not there."""
        return [change.name for change in self.changes if change.change in ("added", "changed", "repaired")]

    @property
    def removed(self) -> list[str]:
        """Names that are gone, those that were no secrets of ours among them."""
        gone = {change.name for change in self.changes if change.change == "removed"}
        return sorted(gone.union(self.remove))

    def rendered(self) -> tuple[str, str]:
        """Before and after, for a diff."""
        sides = []
        for before in (True, False):
            moved = [change for change in self.changes if change.change != "kept"]
            lines = [line for line in (change.line(before) for change in moved) if line is not None]
            sides.append("".join(f"{line}\n" for line in lines))
        return sides[0], sides[1]


def plan(wanted: Sequence[SecretFile], found: Found, key: Optional[Hidden], where: str) -> Plan:
    """Decide. ``key`` is that of the fingerprints; without one none are told. Raises SecretError for what must not be."""
    by_name = {secret.name: secret for secret in wanted}
    _check(by_name, found, where)
    write: list[SecretFile] = []
    keep: list[SecretFile] = []
    changes = []
    for name in sorted(by_name):
        secret, installed = by_name[name], found.secrets.get(name)
        change = _change(secret, installed)
        (keep if change == "kept" else write).append(secret)
        before = installed.value if installed else None
        changes.append(
            Change(
                name,
                change,
                secret.version,
                installed.version if installed else None,
                _shown(key, name, secret.value),
                _shown(key, name, before),
            )
        )
    gone = sorted(set(found.secrets) - set(by_name))
    for name in gone:
        installed = found.secrets[name]
        shown = _shown(key, name, installed.value)
        changes.append(Change(name, "removed", None, installed.version, None, shown))
    switch = bool(write or gone or found.set is None)
    return Plan(
        changes=tuple(changes),
        switch=switch,
        write=tuple(write) if switch else (),
        keep=tuple(keep) if switch else (),
        link=tuple(name for name in sorted(by_name) if name not in found.occupied),
        replace=tuple(name for name in sorted(by_name) if name in found.occupied and not _linked(name, found)),
        remove=tuple(name for name, kind in sorted(found.occupied.items()) if name not in by_name and kind != "folder"),
        leftovers=found.leftovers,
        narrow=found.exists and found.mode != DIRECTORY_MODE,
        warnings=tuple(
            f"{where}: {name} was not made by this module and is left alone"
            for name, kind in sorted(found.occupied.items())
            if kind == "folder" and name not in by_name
        ),
    )


def index_of(secrets: Sequence[SecretFile], key: Hidden) -> bytes:
    """What a set says of itself: ``{name: {version, uid, gid, fingerprint}}``."""
    entries = {
        secret.name: {
            "version": secret.version,
            "uid": secret.uid,
            "gid": secret.gid,
            "fingerprint": _shown(key, secret.name, secret.value),
        }
        for secret in secrets
    }
    return json.dumps(entries, sort_keys=True).encode()


def parsed_index(content: Optional[bytes]) -> dict[str, dict[str, Any]]:
    """Of a set without an index that can be read nothing is known, so all of it is written anew."""
    try:
        entries = json.loads(content or b"{}")
    except ValueError:
        return {}
    if not isinstance(entries, dict):
        return {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}


def _change(secret: SecretFile, installed: Optional[InstalledSecret]) -> str:
    if installed is None:
        return "added"
    if installed.value is None:
        return "repaired"
    if secret.value is not None and secret.value != installed.value:
        return "changed"
    if (secret.uid, secret.gid) != (installed.uid, installed.gid):
        return "owner"
    return "kept" if installed.intact else "repaired"


def _linked(name: str, found: Found) -> bool:
    """Whether the name is our link; it may lead nowhere yet."""
    return found.occupied.get(name) == "link"


def _check(wanted: Mapping[str, SecretFile], found: Found, where: str) -> None:
    empty = sorted(name for name, secret in wanted.items() if secret.value is not None and not secret.value.reveal())
    if empty:
        raise SecretError(
            "empty", f"the value is empty: {', '.join(empty)}", where=where, fix="Give it one, or leave it out"
        )
    blocked = sorted(name for name in wanted if found.occupied.get(name) == "folder")
    if blocked:
        raise SecretError(
            "foreign_content",
            f"a folder or a mounted file stands at the name of a secret: {', '.join(blocked)}",
            where=where,
            fix="Remove it, or give the secret another name",
        )
    foreign = sorted(set(found.occupied) - set(wanted))
    if foreign and not found.ours:
        raise SecretError(
            "foreign_content",
            f"there are things that nobody declared: {', '.join(foreign[:5])}{' …' if foreign[5:] else ''}",
            where=where,
            fix="Name a folder for secrets alone, or move these away: what is not declared would be removed",
        )


def _shown(key: Optional[Hidden], name: str, value: Optional[Hidden]) -> Optional[str]:
    return None if key is None or value is None else fingerprint(key.reveal(), name, value)
