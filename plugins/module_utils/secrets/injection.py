# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a source into files: everything is read first, then all files of the host are switched at once."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional, Sequence

from ..effects import Clock, Runner
from . import memory_storage
from .faults import SecretError
from .model import DeclaredSecret, Hidden, Lease, Source, declared
from .owners import owner_of
from .secret_directory import LEASES, SecretDirectory
from .secret_files import Found, Plan, SecretFile, plan
from .sources import opened
from .vault import VaultSource


@dataclass(frozen=True)
class Wanted:
    """Options of a run. ``source`` and ``secrets`` are as users write them (docs/secrets.md); a secret may have
    ``owner`` and ``group``, else these count. ``keep_on_outage``: what stands here is enough while the source is away."""

    directory: str
    source: Mapping[str, Any]
    secrets: Sequence[Mapping[str, Any]]
    owner: Optional[str] = None
    group: Optional[str] = None
    mount: bool = False
    keep_on_outage: bool = False


@dataclass(frozen=True)
class World:
    """``step`` is told what is being done, ``hide`` gets every value, to keep it out of what is shown. ``gate`` is
    asked after each switch, and when there was nothing to switch; a ContinuityError of it takes the switch back."""

    clock: Clock
    runner: Runner
    step: Callable[[str], None]
    hide: Callable[[bytes], None]
    gate: Optional[Callable[[Plan, SecretDirectory], None]] = None


@dataclass(frozen=True)
class Injected:
    """``stale`` is the reason why nothing was read, when what stood there was enough."""

    plan: Plan
    stale: Optional[str] = None
    warnings: list[str] = field(default_factory=list)

    def fields(self, directory: str) -> dict[str, Any]:
        """The result of a module."""
        changes = [
            {**dataclasses.asdict(change), "file": os.path.join(directory, change.name)} for change in self.plan.changes
        ]
        return {
            "changed": self.plan.changed,
            "directory": directory,
            "secrets": changes,
            "changed_names": self.plan.changed_names,
            "removed": self.plan.removed,
            "stale": self.stale is not None,
        }


def inject(wanted: Wanted, world: World, *, check: bool) -> Injected:
    """Make the files what is declared; with ``check`` only say what that would change. Raises SecretError."""
    world.step("options")
    secrets = declared(wanted.secrets)
    owners = {
        secret.name: owner_of(secret.name, entry.get("owner") or wanted.owner, entry.get("group") or wanted.group)
        for secret, entry in zip(secrets, wanted.secrets)
    }
    source = opened(wanted.source, world.clock)
    try:
        injected = _inject(wanted, secrets, owners, source, world, check)
    finally:
        source.close()
    stale = [f"What stands here was kept: {injected.stale}"] if injected.stale else []
    warnings = [*injected.warnings, *source.warnings, *injected.plan.warnings, *stale]
    return Injected(injected.plan, injected.stale, warnings)


def remove(path: str, world: World, *, check: bool) -> bool:
    """Take the folder away, with all that is ours; whether there was one. Raises SecretError for one that is not."""
    world.step("inspect")
    directory = SecretDirectory(path, world.clock, create=False)
    with directory:
        if not directory.exists:
            return False
        with directory.locked():
            found = directory.found()
            if not found.ours and not directory.empty:
                raise SecretError("foreign_content", "this folder was not made for secrets", where=path)
            world.step("switch")
            if check:
                return True
            directory.clear()
            mounted = directory.mounted
    if mounted:
        memory_storage.unmount(path, world.runner)
    os.rmdir(path)
    return True


def _inject(
    wanted: Wanted,
    secrets: Sequence[DeclaredSecret],
    owners: Mapping[str, tuple[int, int]],
    source: Source,
    world: World,
    check: bool,
) -> Injected:
    world.step("inspect")
    with SecretDirectory(wanted.directory, world.clock, create=False) as directory:
        fresh = directory.empty
        if not fresh:
            with directory.locked():
                warning = memory_storage.check_memory(directory.storage, directory.path)
                reading = _Reading(source, secrets, owners, directory.found(), wanted, world, check)
                return _switch(directory, reading, warning, check)
        if not (wanted.mount and not directory.mounted):
            memory_storage.check_memory(directory.storage, directory.path)
        reading = _Reading(source, secrets, owners, Found(), wanted, world, check)
    if check:
        return Injected(plan(reading.files, Found(), None, directory.path), reading.stale)
    world.step("inspect")
    with _prepared(wanted, world) as directory, directory.locked():
        warning = memory_storage.check_memory(directory.storage, directory.path)
        return _switch(directory, reading, warning, check)


def _prepared(wanted: Wanted, world: World) -> SecretDirectory:
    """The folder, made and mounted where that is wanted."""
    directory = SecretDirectory(wanted.directory, world.clock, create=True)
    if not wanted.mount or directory.mounted:
        return directory
    directory.close()
    memory_storage.mount(directory.path, world.runner)
    return SecretDirectory(wanted.directory, world.clock, create=False)


class _Reading:
    """What was read for a folder as it was found: ``files``, or why not (``stale``)."""

    def __init__(
        self,
        source: Source,
        secrets: Sequence[DeclaredSecret],
        owners: Mapping[str, tuple[int, int]],
        found: Found,
        wanted: Wanted,
        world: World,
        check: bool,
    ) -> None:
        self.world = world
        self.source = source
        self.stale: Optional[str] = None
        self._leases = os.path.join(os.path.abspath(wanted.directory), LEASES)
        self._dynamic = {secret.path for secret in secrets if secret.dynamic}
        world.step("read")
        try:
            values = self._values(secrets, found, check)
        except SecretError as error:
            standing = all(_value(found, secret.name) is not None for secret in secrets)
            if not (error.outage and wanted.keep_on_outage and standing and found.set):
                raise
            self.stale = str(error)
            values = {}
        self.files = [
            SecretFile(secret.name, value, *owners[secret.name], version)
            for secret in secrets
            for value, version in [values.get(secret.name, (None, None))]
        ]

    def _values(
        self, secrets: Sequence[DeclaredSecret], found: Found, check: bool
    ) -> dict[str, tuple[Optional[Hidden], Optional[str]]]:
        living = self._resumed(check)
        anew = {
            secret.path
            for secret in secrets
            if _value(found, secret.name) is None
            or found.secrets[secret.name].version != _mark(living.get(secret.path))
        }
        values: dict[str, tuple[Optional[Hidden], Optional[str]]] = {}
        wanted = []
        for secret in secrets:
            if secret.dynamic and (check or secret.path not in anew):
                installed = found.secrets.get(secret.name)
                values[secret.name] = (_value(found, secret.name), installed.version if installed else None)
            else:
                wanted.append(secret)
        leases = self.source.leases if isinstance(self.source, VaultSource) else {}
        paths = {secret.name: secret.path for secret in wanted if secret.dynamic}
        for read in self.source.read(wanted).values() if wanted else ():
            self.world.hide(read.value.reveal())
            values[read.name] = (read.value, read.version or _mark(leases.get(paths.get(read.name, ""))))
        return values

    def _resumed(self, check: bool) -> Mapping[str, Lease]:
        """The leases that live, by path."""
        if check or not isinstance(self.source, VaultSource) or not os.path.exists(self._leases):
            return {}
        return self.source.resume(self._leases)

    def hold(self) -> None:
        """Keep what was lent until the next run."""
        if isinstance(self.source, VaultSource) and self._dynamic & set(self.source.leases):
            self.source.hold(self._leases)

    def give_back(self) -> None:
        """What nobody declares any more."""
        if not isinstance(self.source, VaultSource):
            return
        undeclared = [lease for path, lease in self.source.leases.items() if path not in self._dynamic]
        for lease in undeclared:
            self.source.revoke(lease)
        if undeclared and self.source.leases:
            self.source.hold(self._leases)
        elif not self.source.leases and os.path.exists(self._leases):
            os.unlink(self._leases)


def _mark(lease: Optional[Lease]) -> Optional[str]:
    """Stands as the version of what was lent: it tells whether a file and a lease that lives belong together."""
    return None if lease is None else hashlib.sha256(lease.id.reveal()).hexdigest()[:12]


def _value(found: Found, name: str) -> Optional[Hidden]:
    installed = found.secrets.get(name)
    return installed.value if installed and installed.intact else None


def _switch(directory: SecretDirectory, reading: _Reading, warning: Optional[str], check: bool) -> Injected:
    reading.world.step("switch")
    found = directory.found()
    warnings = [warning] if warning else []
    if reading.stale is not None:
        return Injected(Plan(changes=(), switch=False), reading.stale, warnings)
    decided = plan(reading.files, found, found.key, directory.path)
    if check:
        return Injected(decided, None, warnings)
    key = found.key
    if key is None:
        key = directory.key()
        decided = plan(reading.files, found, key, directory.path)
    gate = reading.world.gate
    reading.hold()
    directory.apply(decided, key, None if gate is None else functools.partial(gate, decided, directory))
    reading.give_back()
    return Injected(decided, None, warnings)
