# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves credentials out of YAML, step by step, each of which can be gone on with and taken back.

The order is what keeps everything safe: look, back up, write, prove, edit, verify (docs/secret-migration.md). A file
is edited only after every value of the run was read back under the agents' own login.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence

from ..age_keys import identities, library, recipients
from ..effects import Clock
from ..journal.durable import locked, make_directory, write_file
from .age_file import decrypt
from .faults import SecretError
from .migration_files import MigrationError, check_replaceable, errors_of_files, read, read_whole, replace, sweep
from .migration_journal import MigrationJournal, Run
from .migration_plan import Move, Plan
from .model import Hidden, ReadSecret, declared
from .placeholders import Path, PlaceholderError, replaced, scalars
from .sources import opened
from .writers import FIELD, writer_of

_ABSENT = frozenset({"missing", "deleted", "destroyed"})


@dataclass(frozen=True)
class Settings:
    """``source`` is how agents read (docs/secrets.md), ``writer`` what writing takes beside it. ``recipients`` are
    those for whom originals are encrypted; with ``identity_files`` a backup is proven to open, and can be undone."""

    source: Mapping[str, Any]
    writer: Mapping[str, Any]
    prefix: str
    folder: str
    recipients: Sequence[str]
    identity_files: Sequence[str] = ()


@dataclass(frozen=True)
class Undone:
    """``kept`` says of files and paths why they were not taken back."""

    run: str
    restored: tuple[str, ...]
    taken_back: tuple[str, ...]
    kept: Mapping[str, str]


def unfinished(settings: Settings, clock: Clock) -> Optional[Run]:
    """The run that was begun and neither ended nor undone."""
    runs = _runs(settings, clock).values()
    return next((run for run in runs if run.state in ("begun", "undoing")), None)


def _runs(settings: Settings, clock: Clock) -> dict[str, Run]:
    return MigrationJournal(settings.folder, clock).runs() if os.path.isdir(settings.folder) else {}


def apply(root: str, plan: Plan, settings: Settings, clock: Clock) -> Optional[Run]:
    """Carry out a plan, or go on with the run that was begun before, as that one was planned. None: nothing to do."""
    _check_settings(settings)
    root = os.path.realpath(root)
    with errors_of_files(settings.folder), _locked(settings.folder):
        journal = MigrationJournal(settings.folder, clock)
        begun = unfinished(settings, clock)
        if begun is not None and begun.state == "undoing":
            fix = f"Finish that first: secrets-migrate --undo {begun.id}"
            raise MigrationError("a run is being undone", where=begun.id, fix=fix)
        if begun is not None and begun.root != root:
            fix = f"Go on with it there, or undo it: secrets-migrate --undo {begun.id}"
            raise MigrationError(f"a run in {begun.root} is not finished", where=begun.id, fix=fix)
        if begun is None and not plan.moves:
            return None
        run = begun or Run(_new_id(clock), root, settings.prefix, str(settings.source["kind"]), plan.moves)
        _Apply(run, journal, settings, clock, begun=begun is not None).carry_out()
        return run


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    make_directory(folder, 0o700)
    with locked(os.path.join(folder, "lock")):
        yield


class _Apply:
    def __init__(self, run: Run, journal: MigrationJournal, settings: Settings, clock: Clock, *, begun: bool) -> None:
        self.run = run
        self.journal = journal
        self.settings = settings
        self.clock = clock
        self.begun = begun
        self.contents: dict[str, bytes] = {}
        self.edits: dict[str, bytes] = {}
        self.values: dict[str, Hidden] = {}
        self.refusals: dict[str, SecretError] = {}

    def carry_out(self) -> None:
        self._look()
        for file in self.run.files:
            sweep(self.run.root, file, self.run.id)
        absent = self._absent()
        if not self.begun:
            self.journal.begin(self.run)
        for file in self.edits:
            self._back_up(file)
        self._write(absent)
        self._prove()
        for file in self.run.files:
            self._edit(file)
        self.journal.note(self.run, "done")

    def _look(self) -> None:
        """Everything that is to be moved still, and what each file will be."""
        for file in self.run.files:
            self.contents[file] = read(self.run.root, file)
            found = scalars(self.contents[file], file).values()
            wanted: list[Move] = []
            for move in self.run.of(file):
                value = move.value_in(found[move.path]) if move.path in found else _gone(move)
                if value is None:
                    continue
                wanted.append(move)
                if self.values.setdefault(move.name, value) != value:
                    raise MigrationError("one name would stand for two values", where=f"{file}:{move.line}")
            if wanted:
                check_replaceable(self.run.root, file)
                edits = {move.path: move.replacement for move in wanted}
                self.edits[file] = replaced(self.contents[file], file, edits)

    def _names(self) -> list[str]:
        return sorted({move.name for move in self.run.moves})

    def _absent(self) -> list[str]:
        """Names that have no value in the source yet; the agents' login works."""
        names = self._names()
        there = _present(self.settings, self.clock, [(name, self.run.path(name)) for name in names])
        for name, secret in there.items():
            if name in self.values and self.values[name] != secret.value:
                raise MigrationError(
                    "another value is there already, and is not overwritten",
                    where=self.run.path(name),
                    fix="Choose another prefix, or look which of the two is right",
                )
        absent = [name for name in names if name not in there]
        lost = [name for name in absent if name not in self.values]
        if lost:
            raise MigrationError(
                "a value that was moved before is not in the source any more",
                where=self.run.path(lost[0]),
                fix=f"Undo the run, or bring it back: secrets-migrate --undo {self.run.id}",
            )
        return absent

    def _back_up(self, file: str) -> None:
        folder, name = os.path.join(self.settings.folder, self.run.id), f"{self.run.objects}.age"
        make_directory(folder, 0o700)
        content = self.contents[file]
        encrypted = bytes(library().encrypt(content, recipients(self.settings.recipients)))
        path = os.path.join(folder, name)
        write_file(path, encrypted, 0o600)
        if self.settings.identity_files and decrypt(read_whole(path), self.settings.identity_files, path) != content:
            raise MigrationError("the backup does not open to what was put into it", where=path)
        self.journal.note(self.run, "backed_up", file=file, object=name)

    def _write(self, absent: Iterable[str]) -> None:
        writer = writer_of(self.settings.source, self.settings.writer, self.clock)
        try:
            for name in absent:
                path = self.run.path(name)
                self.journal.note(self.run, "writing", path=path)
                try:
                    writer.write(path, self.values[name])
                except SecretError as error:
                    # Somebody was there first, or an answer was lost and this is the second attempt: reading tells.
                    if error.code != "refused":
                        raise
                    self.refusals[name] = error
                self.journal.note(self.run, "written", path=path)
        finally:
            writer.close()

    def _prove(self) -> None:
        """A new login as the agents do it, and every value read back."""
        wanted = [(name, self.run.path(name)) for name in self._names()]
        there = _present(self.settings, self.clock, wanted)
        for name, path in wanted:
            if name not in there and name in self.refusals:
                raise self.refusals[name]
            if name not in there or (name in self.values and there[name].value != self.values[name]):
                what = "what was written is not what the agents' login reads; no file was changed"
                raise MigrationError(what, where=path, fix="Let nobody else write there, and run again")
        versions = {self.run.path(name): secret.version for name, secret in there.items()}
        self.journal.note(self.run, "proven", versions=versions)

    def _edit(self, file: str) -> None:
        if file in self.edits:
            replace(self.run.root, file, self.contents[file], self.edits[file], self.run.id)
        found = scalars(read(self.run.root, file), file).values()
        for move in self.run.of(file):
            if move.path not in found or move.value_in(found[move.path]) is not None:
                raise MigrationError("the file was changed again by somebody", where=file, fix="Run again")
        if file not in self.run.edited:
            self.journal.note(self.run, "edited", file=file)


def known(run_id: str, settings: Settings, clock: Clock) -> Run:
    """A run that was begun once. Raises MigrationError for one that was not."""
    runs = _runs(settings, clock)
    if run_id not in runs:
        raise MigrationError("there is no such run", where=run_id, fix=f"Runs: {', '.join(sorted(runs)) or 'none'}")
    return runs[run_id]


def undo(run_id: str, settings: Settings, clock: Clock) -> Undone:
    """Put the original bytes back, and take out of the source what the run wrote and nobody else uses."""
    if not identities(settings.identity_files):
        raise MigrationError(
            "undoing needs an identity that opens the backup", fix="Name its file as one of the backup"
        )
    known(run_id, settings, clock)
    with errors_of_files(settings.folder), _locked(settings.folder):
        run = known(run_id, settings, clock)
        if run.over:
            return Undone(run_id, (), (), {})
        others = [one for one in _runs(settings, clock).values() if one.id != run_id and not one.over]
        return _Undo(run, MigrationJournal(settings.folder, clock), settings, clock).carry_out(others)


class _Undo:
    def __init__(self, run: Run, journal: MigrationJournal, settings: Settings, clock: Clock) -> None:
        self.run = run
        self.journal = journal
        self.settings = settings
        self.clock = clock
        self.kept: dict[str, str] = {}
        self.values: dict[str, Hidden] = {}

    def carry_out(self, others: Sequence[Run]) -> Undone:
        originals = {file: self._original(file) for file in sorted(self.run.backups)}
        if self.run.state != "undoing":
            self.journal.note(self.run, "undoing")
        restored = [file for file, original in originals.items() if self._restore(file, original)]
        for file in self.run.files:
            sweep(self.run.root, file, self.run.id)
        taken = self._take_back(others)
        self.journal.note(self.run, "undone", kept=sorted(self.kept))
        return Undone(self.run.id, tuple(restored), tuple(taken), self.kept)

    def _original(self, file: str) -> bytes:
        where = self._backup(file)
        return decrypt(read_whole(where), self.settings.identity_files, where)

    def _backup(self, file: str) -> str:
        return os.path.join(self.settings.folder, self.run.id, self.run.backups[file])

    def _restore(self, file: str, original: bytes) -> bool:
        """Whether the file was edited, and is again what it was."""
        found = scalars(original, file).values()
        edits: dict[Path, str] = {}
        for move in self.run.of(file):
            value = move.value_in(found[move.path])
            if value is not None:
                self.values[move.name], edits[move.path] = value, move.replacement
        edited = replaced(original, file, edits)
        try:
            content = read(self.run.root, file)
            if content == original:
                return False
            if content == edited:
                replace(self.run.root, file, content, original, self.run.id)
                self.journal.note(self.run, "restored", file=file)
                return True
            self.kept[file] = f"it was changed after the migration; its original is in {self._backup(file)}"
        except MigrationError as error:
            self.kept[file] = error.what
        return False

    def _take_back(self, others: Sequence[Run]) -> list[str]:
        """Paths whose value is still what this run wrote, and that no file of this or another run needs."""
        in_use = {one.path(move.name) for one in others for move in one.moves}
        needed = {self.run.path(move.name) for move in self.run.moves if move.file in self.kept}
        names = {self.run.path(name): name for name in self.values}
        wanted = sorted(self.run.written - in_use - needed)
        there = _present(self.settings, self.clock, [(names[path], path) for path in wanted if path in names])
        taken: list[str] = []
        writer = writer_of(self.settings.source, self.settings.writer, self.clock)
        try:
            for path in wanted:
                secret = there.get(names.get(path, ""))
                if secret is not None:
                    version = self.run.versions.get(path, secret.version)
                    if secret.value != self.values[secret.name] or (self._has_versions and version != secret.version):
                        self.kept[path] = "it was changed after the migration"
                        continue
                    try:
                        writer.take_back(path, secret.value, secret.version)
                    except SecretError as error:
                        if error.outage:
                            raise
                        self.kept[path] = error.what
                        continue
                    taken.append(path)
                self.journal.note(self.run, "taken_back", path=path)
        finally:
            writer.close()
        return taken

    @property
    def _has_versions(self) -> bool:
        """Of single values: the version of a file changes with every line of it."""
        return bool(self.settings.source["kind"] == "vault")


def _present(settings: Settings, clock: Clock, wanted: Sequence[tuple[str, str]]) -> dict[str, ReadSecret]:
    """What is there of these names and paths, read as the agents read. Raises SecretError when reading does not work."""
    asked = declared([{"name": name, "path": path, "field": FIELD} for name, path in wanted])
    if not asked or (settings.source.get("kind") == "age" and not os.path.lexists(str(settings.source.get("file")))):
        return {}
    source = opened(settings.source, clock)
    absent: frozenset[str] = frozenset()
    try:
        for _attempt in range(2):
            try:
                return source.read([secret for secret in asked if secret.name not in absent])
            except SecretError as error:
                failures = error.failures
                if not failures or any(failure.code not in _ABSENT for failure in failures.values()):
                    raise
                absent = frozenset(failures)
    finally:
        source.close()
    raise MigrationError("what is in the source changes while it is read", fix="Run again")


def _check_settings(settings: Settings) -> None:
    if (settings.source.get("auth") or {}).get("wrapped_secret_id_file"):
        fix = "Give a secret_id_file for the migration"
        raise MigrationError("a wrapped secret_id can be used once; here two logins are needed", fix=fix)
    if not recipients(settings.recipients):
        raise MigrationError("originals are backed up encrypted, and nobody is named to encrypt for", fix="age-keygen")


def _gone(move: Move) -> Optional[Hidden]:
    raise PlaceholderError("the value that was to be moved is not there any more", where=f"{move.file}:{move.line}")


def _new_id(clock: Clock) -> str:
    time = datetime.fromtimestamp(clock.now(), timezone.utc).strftime("%Y%m%dT%H%M%S")
    return f"{time}-{secrets.token_hex(2)}"
