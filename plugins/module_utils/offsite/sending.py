# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sending: what is missing on the far side goes there, the catalogue last."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Mapping, Optional, Sequence

from . import catalogue
from .catalogue import AGE, Named
from .concurrently import each
from .encryption import Recipients, fault, plausible
from .faults import DamagedObjectError, MissingObjectError, OffsiteError
from .store import ObjectStore

Progress = Callable[[int, int], None]
"""``progress(objects, bytes)`` so far."""


@dataclass(frozen=True)
class LocalFile:
    """A file that is to be on the far side as ``<name>.age``. Files of a lower ``stage`` are there before
    one of a higher stage is sent. ``sha256`` is hexadecimal."""

    name: str
    path: Path
    size: int
    sha256: str
    stage: int = 0

    @property
    def object(self) -> str:
        return self.name + AGE


@dataclass(frozen=True)
class Wanted:
    """What the copy is to be: its files, the content of its catalogue, the folder of its catalogues and whose
    they are, and the folders in which nothing but these files may lie. Folders end in ``/``."""

    files: Sequence[LocalFile]
    catalogue: bytes
    catalogues: str
    owner: str
    folders: Sequence[str]


@dataclass(frozen=True)
class Observed:
    """What is on the far side: sizes by name as far as anybody asked, and the catalogues, the newest last."""

    sizes: Mapping[str, int]
    catalogues: Sequence[Named]


@dataclass(frozen=True)
class Plan:
    """``confirm`` are files that were seen, ``publish`` the catalogue (None: it is there already),
    ``withdraw`` the objects to delete, in their order."""

    send: tuple[LocalFile, ...]
    confirm: tuple[LocalFile, ...]
    publish: Optional[Named]
    withdraw: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return bool(self.send or self.publish or self.withdraw)

    def render(self) -> str:
        lines = [f"+ {file.object}\n" for file in self.send]
        lines += [f"+ {self.publish.name}\n"] if self.publish else []
        return "".join(lines + [f"- {name}\n" for name in self.withdraw])


@dataclass
class Sent:
    """What was done: names of objects, and the bytes of the files (before encryption) behind them."""

    sent: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


def observe(store: ObjectStore, wanted: Wanted, parallel: int, scratch: Path) -> Observed:
    """Look at the far side; changes nothing."""
    known = catalogue.published(store, wanted.catalogues, scratch)
    others = {one.owner for one in known} - {wanted.owner}
    if others:
        raise OffsiteError(
            f"This destination holds the copy of another repository ({', '.join(sorted(others))})",
            where=store.where,
            fix="Give each repository a prefix of its own",
        )
    if store.can_list:
        listed = each(wanted.folders, lambda folder: list(store.list(folder)), parallel)
        return Observed({name: size for _folder, found in listed for name, size in found}, known)
    peeked = each(wanted.files, lambda file: store.peek(file.object), parallel)
    return Observed({file.object: peek.size for file, peek in peeked if peek is not None}, known)


def plan(wanted: Wanted, observed: Observed, *, withdraw: bool) -> Plan:
    """What has to be done (pure)."""
    there = {
        file.object
        for file in wanted.files
        if file.object in observed.sizes and plausible(observed.sizes[file.object], file.size)
    }
    newest = observed.catalogues[-1] if observed.catalogues else None
    unchanged = newest is not None and newest.digest == catalogue.sha256(wanted.catalogue)
    publish = None if unchanged else catalogue.following(wanted.catalogues, wanted.owner, newest, wanted.catalogue)
    send = tuple(sorted((file for file in wanted.files if file.object not in there), key=lambda file: file.stage))
    confirm = tuple(file for file in wanted.files if file.object in there) if send or publish else ()
    stale: tuple[str, ...] = ()
    if withdraw:
        stage = {folder: number for number, folder in enumerate(wanted.folders)}
        keep = {file.object for file in wanted.files}
        gone = [name for name in observed.sizes if name not in keep and name.endswith(AGE)]
        old = [one.name for one in observed.catalogues if one is not newest or publish is not None]
        # Whatever refers to something else goes before it: catalogues, then the later folders.
        gone.sort(key=lambda name: (-max((stage[one] for one in stage if name.startswith(one)), default=0), name))
        stale = (*old, *gone)
    return Plan(send, confirm, publish, stale)


def apply(
    plan: Plan,
    wanted: Wanted,
    store: ObjectStore,
    recipients: Recipients,
    scratch: Path,
    *,
    parallel: int,
    progress: Optional[Progress] = None,
) -> Sent:
    """Carry out a plan. A local file that is damaged or gone is noted in ``damaged``, and no catalogue names it."""
    result = Sent()
    missing = [file for file, good in each(plan.confirm, lambda one: _stands(store, one), parallel) if not good]
    pending = sorted([*plan.send, *missing], key=lambda file: file.stage)
    for _stage, files in itertools.groupby(pending, key=lambda file: file.stage):
        for file, problem in each(list(files), lambda one: send(store, one, recipients, scratch), parallel):
            if problem:
                result.damaged[str(file.path)] = problem
                continue
            result.sent.append(file.object)
            result.bytes += file.size
            if progress is not None:
                progress(len(result.sent), result.bytes)
        if result.damaged:
            return result
    if plan.publish is not None:
        content = scratch / "catalogue.json"
        content.write_bytes(wanted.catalogue)
        file = LocalFile(plan.publish.name[: -len(AGE)], content, len(wanted.catalogue), plan.publish.digest)
        problem = send(store, file, recipients, scratch)
        if problem:
            raise OffsiteError(problem, where=str(content))
        catalogue.point_to(store, wanted.catalogues, plan.publish, scratch)
        result.sent.append(plan.publish.name)
    for name in plan.withdraw:
        store.delete(name)
        result.withdrawn.append(name)
    return result


def send(store: ObjectStore, file: LocalFile, recipients: Recipients, scratch: Path) -> str:
    """Encrypt and send one file, and look whether it arrived. What is wrong with the file itself, or nothing."""
    with _sealed(scratch, file.sha256) as sealed:
        try:
            digest = recipients.encrypt(file.path, sealed)
        except FileNotFoundError:
            return "is gone since it was listed"
        except OSError as error:
            if error.filename is not None and os.fsdecode(error.filename) == str(file.path):
                return f"cannot be read: {error.strerror}"
            raise OffsiteError(
                f"Cannot write what is to be sent: {error.strerror or error}", where=str(sealed), fix="Make room there"
            ) from error
        if digest != file.sha256:
            return "is damaged: its SHA-256 is not its name"
        store.put(file.object, sealed)
        peek = store.peek(file.object)
        size = sealed.stat().st_size
        with open(sealed, "rb") as stream:
            same = peek is not None and peek.size == size and stream.read(len(peek.beginning)) == peek.beginning
    if not same:
        found = (
            "nothing is there"
            if peek is None
            else f"{peek.size} bytes are there"
            if peek.size != size
            else "it differs"
        )
        raise DamagedObjectError(
            f"The endpoint took {size} bytes and said that all is well, but {found}",
            where=f"{store.where}/{file.object}",
            fix="Do not trust this endpoint; what was proven before is kept",
        )
    return ""


def _stands(store: ObjectStore, file: LocalFile) -> bool:
    """Whether an object that was seen is there whole."""
    try:
        peek = store.peek(file.object)
    except MissingObjectError:
        return False
    return peek is not None and not fault(peek, file.size)


@contextlib.contextmanager
def _sealed(scratch: Path, name: str) -> Iterator[Path]:
    file = scratch / f"{name}{AGE}"
    try:
        yield file
    finally:
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
