# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a backup of one host: restore point, copies, logs, documents, off-site, checksums, report.

What the module, the playbook and the command line have in common. Everything is made under the lock of
the destination and published by one rename (docs/backup.md).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..backup.copying import ITSELF, SNAPSHOT, SOURCE, Copier, Copy, Older, write_text
from ..backup.databases import fault_of_sqlite
from ..backup.digests import SUMS, WORKERS, Digests, digests_of, read_sums, sidecar_text, sums_text
from ..backup.faults import BackupError
from ..backup.layout import Backup, Staging, free_id, make_id, parse_id, report_name
from ..backup.report import DIFFERS, Findings, document, render
from ..backup.sorting import DATABASE, DATABASES, LOGS, SIDECAR, component, folder_of, place
from ..effects import Clock, Runner
from ..logs import batch
from ..repository import paths
from ..repository.entries import Entry
from ..repository.layout import refusals, timestamp
from ..repository.manifests import describe
from ..repository.restoring import Progress
from ..source import Found
from ..sources import databases, sqlite
from ..sources.databases import Database
from ..sources.patterns import Patterns
from ..sources.tree import TreeSource, outermost
from . import agent_states, backups_offsite, snapshots
from .agent_states import host_states

TYPES = ("full", "incremental")
FOLDER = "03_BACKUPS"
_LISTS = ("source_paths", "log_paths", "document_paths", "exclude", "documents", "recipients", "identity_files")
_OF_AN_ARCHIVE = ("log", "source", "size_bytes", "compressed_bytes", "ratio", "lines", "sha256", "compression", "level")


@dataclass(frozen=True)
class Wish:
    """What is to be backed up, and where to. ``states`` are the states of the agents of other hosts, by
    host (``agent_states.host_states``); ``backup_id`` None: named by the time; ``set_name`` is the
    schedule's, empty on demand; ``offsite`` are settings of ``backups_offsite``, empty for no copy elsewhere.

    ``recipients`` and ``identity_files`` are the keys of an encrypted repository, as ``take_snapshot`` has them.
    """

    root: str
    host: str
    repository: str
    destination: str
    source_paths: tuple[str, ...]
    states: Mapping[str, Any] = field(default_factory=dict)
    databases: tuple[Database, ...] = ()
    log_paths: tuple[str, ...] = ()
    document_paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    documents: tuple[str, ...] = snapshots.DOCUMENTS
    backup_type: str = "full"
    compression: str = "gzip"
    compression_level: str = "normal"
    offsite: Mapping[str, Any] = field(default_factory=dict)
    recipients: tuple[str, ...] = ()
    recipients_file: Optional[str] = None
    identity_files: tuple[str, ...] = ()
    backup_id: Optional[str] = None
    set_name: str = ""
    wait: float = 60.0

    @property
    def database_folder(self) -> str:
        """Where dumps of databases stand in the snapshot."""
        return os.path.join(self.root, databases.FOLDER)


@dataclass(frozen=True)
class Made:
    """``backup`` is None when it was only looked at. ``checksum`` is the SHA-256 of the report's file,
    ``planned`` the files that a run would copy."""

    backup: Optional[Backup]
    new: bool
    checksum: str = ""
    planned: Sequence[str] = field(default_factory=list)


def wish_for(root: str, given: Mapping[str, Any]) -> Wish:
    """What was asked for by options of the module's names, with the defaults of the host root for the rest."""
    chosen = {one.name: given[one.name] for one in fields(Wish) if given.get(one.name)}
    chosen.update({key: tuple(map(str, chosen[key])) for key in _LISTS if key in chosen})
    logs = os.path.join(root, "logs")
    defaults: dict[str, Any] = {
        "repository": os.path.join(root, "repository"),
        "destination": os.path.join(root, FOLDER),
        "source_paths": snapshots.default_sources(root),
        "log_paths": (logs,) if os.path.isdir(logs) else (),
    }
    if "databases" in chosen:
        chosen["databases"] = tuple(Database.from_fields(one) for one in chosen["databases"])
    host = snapshots.host_name(root, given.get("host"))
    return Wish(**{**defaults, **chosen, "root": os.path.abspath(root), "host": host})


def make_backup(
    wish: Wish, runner: Runner, clock: Clock, *, check: bool = False, progress: Optional[Progress] = None
) -> Made:
    """Make a backup, unless the one of this name exists. Raises a ContinuityError when there is none then."""
    if wish.backup_type not in TYPES:
        raise BackupError(f"{wish.backup_type!r} is no type of a backup", fix=f"Use one of {', '.join(TYPES)}")
    if wish.backup_id is not None:
        parse_id(wish.backup_id)
    if not (wish.source_paths or wish.document_paths or wish.databases):
        raise BackupError(
            "There is nothing to take a snapshot of", where=wish.root, fix="Name the host root, or source_paths"
        )
    staging = Staging(wish.destination)
    with refusals("Cannot make the backup", wish.destination, "Make room or give permission, and run again"):
        if check:
            there = _there(staging, wish)
            return _made(there, False) if there else Made(None, True, planned=_plan(wish, clock))
        with staging.turn(clock, wish.wait):
            there = _there(staging, wish)
            if there is not None:
                return _made(there, False)
            backup_id = wish.backup_id or free_id(staging, clock.now())
            with staging.build(backup_id) as building:
                _fill(building, backup_id, staging, wish, runner, clock, progress)
                folder = staging.publish(building, backup_id)
            return _made(staging.load(os.path.basename(folder)), True)


def _there(staging: Staging, wish: Wish) -> Optional[Backup]:
    found = staging.find(wish.backup_id) if wish.backup_id else None
    if found is not None and found.report.get("host") != wish.host:
        raise BackupError(
            f"This backup is there already, of the host {found.report.get('host')}",
            where=found.folder,
            fix="Give each host a destination of its own",
        )
    return found


def _made(backup: Backup, new: bool) -> Made:
    return Made(backup, new, digests_of(backup.report_file).sha256)


def _real_paths(given: Sequence[str]) -> list[bytes]:
    return [os.fsencode(os.path.realpath(path)) for path in given]


def _dumps(wish: Wish) -> list[bytes]:
    """Where the dumps of databases stand in the snapshot."""
    folder = os.path.realpath(wish.database_folder)
    return [os.fsencode(os.path.join(folder, one.file_name)) for one in wish.databases]


def _wanted(wish: Wish) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*wish.source_paths, *wish.document_paths)))


def _fill(
    building: str,
    backup_id: str,
    staging: Staging,
    wish: Wish,
    runner: Runner,
    clock: Clock,
    progress: Optional[Progress],
) -> None:
    """Everything that the backup is to hold, the report last."""
    begun, started = clock.now(), clock.monotonic()
    date, _time = parse_id(backup_id)
    outcome = snapshots.take_snapshot(
        wish.repository,
        snapshots.Wanted(
            host=wish.host,
            sources=_wanted(wish),
            exclude=(*wish.exclude, staging.pattern),
            documents=wish.documents,
            restore_point=f"rp-{backup_id}",
            tags=(wish.set_name,) if wish.set_name else (),
            wait=wish.wait,
            databases=wish.databases,
            database_folder=wish.database_folder,
        ),
        clock,
        runner=runner,
        progress=progress,
        recipients=wish.recipients,
        recipients_file=wish.recipients_file,
        identity_files=wish.identity_files,
    )
    if outcome.manifest is None:
        raise BackupError("No snapshot was taken", where=wish.repository)
    snapshot = outcome.manifest
    if snapshot.sources != tuple(map(paths.encode, outermost(_real_paths(_wanted(wish)) + _dumps(wish)))):
        raise BackupError(
            f"The restore point {snapshot.restore_point} is there already, of other paths: {', '.join(snapshot.sources)}",
            where=wish.repository,
            fix="Give another backup_id",
        )
    faults = snapshots.verify_repository(
        wish.repository,
        [snapshot.digest],
        host=wish.host,
        expected=snapshot.digest,
        identity_files=wish.identity_files,
    ).faults()
    if faults:
        raise BackupError(
            f"The restore point is damaged: {'; '.join(faults)}", where=wish.repository, fix="Heal the repository"
        )
    problems = snapshots.incomplete(outcome)
    older, unsound = _older(staging) if wish.backup_type == "incremental" else (None, [])
    problems += unsound
    copier = Copier(building, older)
    states, state_problems = _copy_states(copier, wish, date, runner, clock)
    problems += state_problems + _copy_files(copier, wish, snapshot.digest)
    archives, log_problems = _archive_logs(building, copier, older, wish, clock)
    sent = backups_offsite.send(wish.offsite, wish.repository, wish.host, copier.copies, clock, wish.wait)
    problems += log_problems + sent.problems
    written = timestamp(begun)
    sums = _write_sums(building, copier.write_sidecars(written))
    report = document(
        Findings(
            backup_id=backup_id,
            timestamp=written,
            date=date,
            host=wish.host,
            backup_type=wish.backup_type,
            inputs={
                "backup_type": wish.backup_type,
                "source_paths": list(wish.source_paths),
                "destination": wish.destination,
                "compression_level": wish.compression_level,
                "log_paths": list(wish.log_paths),
                "document_paths": list(wish.document_paths),
            },
            set_name=wish.set_name,
            snapshot={**describe(snapshot), "repository": wish.repository},
            states=states,
            copies=copier.copies,
            archives=archives,
            sent=sent.files,
            offsite=sent.described,
            sums=sums,
            problems=problems,
            seconds=clock.monotonic() - started,
        )
    )
    file = os.path.join(building, report_name(date))
    write_text(file, render(report))
    write_text(file + SIDECAR, sidecar_text(report_name(date), digests_of(file).sha256, written))


def _older(staging: Staging) -> tuple[Optional[Older], list[dict[str, str]]]:
    """(the newest backup whose files may be shared, what is wrong with newer ones)."""
    problems: list[dict[str, str]] = []
    for backup in reversed(staging.backups()[0]):
        file = os.path.join(backup.folder, "SHA256SUMS")
        try:
            with open(file, encoding="utf-8") as stream:
                return Older(backup.folder, read_sums(stream.read(), file)), problems
        except (BackupError, OSError, UnicodeDecodeError) as error:
            why = error.what if isinstance(error, BackupError) else str(error)
            problems.append({"path": file, "kind": "older", "message": f"nothing of this backup is used: {why}"})
    return None, problems


def _copy_states(
    copier: Copier, wish: Wish, date: str, runner: Runner, clock: Clock
) -> tuple[Copy, list[dict[str, str]]]:
    own = {} if wish.host in wish.states else {wish.host: host_states(wish.root, wish.host, runner, clock)}
    hosts = {**wish.states, **own}
    text = json.dumps(agent_states.document(hosts, clock), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    # An agent may answer anything: what has no UTF-8 is written as an escape of JSON.
    content = text.encode("utf-8", "backslashreplace")
    copy = Copy(
        path=f"{DATABASE}/agent_states_{date}.json",
        source="",
        kind="states",
        digests=Digests.of(content),
        modified=int(clock.now() * 1e9),
        compared=ITSELF,
    )
    error = hosts[wish.host].get("error")
    problems = [{"path": wish.root, "kind": "states", "message": error}] if error else []
    return copier.add(copy, [content]), problems


def _copy_files(copier: Copier, wish: Wish, snapshot: str) -> list[dict[str, str]]:
    """Copy what is for people out of the snapshot; then compare with the sources as they stand now."""
    document_roots = _real_paths(wish.document_paths)
    entries: dict[str, Entry] = {}
    opened = snapshots.opened(wish.repository, snapshot, host=wish.host, identity_files=wish.identity_files)
    with opened as (_manifest, found, content_of):
        for entry in found:
            if entry.content is None:
                continue
            source = paths.encode(entry.path)
            is_document = any(paths.inside(entry.path, root) for root in document_roots)
            folder = folder_of(source.rpartition("/")[2], entry.kind, document=is_document)
            if folder is None:
                continue
            copy = Copy(
                path=place(folder, source),
                source=source,
                kind=entry.kind or "file",
                digests=Digests(entry.content.size, entry.content.sha256, entry.content.md5),
                modified=entry.mtime,
                compared=SNAPSHOT,
            )
            copier.add(copy, content_of(entry.content))
            entries[copy.path] = entry
    copied = [copy for copy in copier.copies if copy.path in entries]
    with ThreadPoolExecutor(WORKERS) as pool:
        compared = dict(zip(entries, pool.map(lambda copy: _compare(copier, copy, entries[copy.path]), copied)))
    copier.copies = [
        replace(copy, compared=compared[copy.path][0]) if copy.path in compared else copy for copy in copier.copies
    ]
    return [
        {"path": copy.source, "kind": "sqlite" if copy.kind == "sqlite" else DIFFERS, "message": fault}
        for copy, (_what, fault) in zip(copied, compared.values())
        if fault
    ]


def _compare(copier: Copier, copy: Copy, entry: Entry) -> tuple[str, str]:
    """(what the copy equals, what is wrong). A source that was changed since cannot be compared any more:
    the copy equals what was read of it in one settled piece."""
    if entry.kind == "sqlite":
        return SNAPSHOT, fault_of_sqlite(os.path.join(copier.folder, copy.path))
    if entry.kind in DATABASES or entry.evidence is not None:
        return SNAPSHOT, ""
    try:
        before = os.lstat(entry.path)
        standing = digests_of(os.fsdecode(entry.path))
        after = os.lstat(entry.path)
    except FileNotFoundError:
        return SNAPSHOT, ""
    if standing == copy.digests:
        return SOURCE, ""
    untouched = all((state.st_size, state.st_mtime_ns) == (copy.digests.size, entry.mtime) for state in (before, after))
    return SNAPSHOT, "its content is another one though its size and time are the same" if untouched else ""


def _archive_logs(
    building: str, copier: Copier, older: Optional[Older], wish: Wish, clock: Clock
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Compress the logs into the backup: what was written since the older backup, whose catalogue is carried
    on, else all that still stands on the host. The catalogue is published with the backup or not at all, so
    a killed run takes no line with it."""
    if not wish.log_paths:
        return [], []
    folder = os.path.join(building, LOGS)
    catalogue = os.path.join(folder, "catalogue")
    os.mkdir(catalogue, 0o700)
    for path in older.sound(f"{LOGS}/catalogue/") if older else ():
        shutil.copyfile(path, os.path.join(catalogue, os.path.basename(path)))
    wanted = batch.Wanted(
        wish.log_paths,
        folder,
        catalogue,
        exclude=wish.exclude,
        compression=wish.compression,
        level=wish.compression_level,
    )
    archived = batch.archive_logs(wanted, clock)
    os.unlink(os.path.join(catalogue, batch.LOCK))
    described = []
    for one in archived:
        for stretch in one.files:
            path = f"{LOGS}/{_plain_name(folder, os.path.basename(stretch['path']))}"
            copier.adopt(path, source=paths.encode(os.fsencode(one.log)), kind="log", compared=SOURCE)
            described.append({"file": path, **{key: stretch[key] for key in _OF_AN_ARCHIVE}})
    for name in sorted(os.listdir(catalogue)):
        name = _plain_name(catalogue, name)
        copier.adopt(f"{LOGS}/catalogue/{name}", source="", kind="catalogue", compared=ITSELF)
    problems = [
        {"path": one.log, "kind": "log", "message": str(problem).removeprefix(f"{one.log}: ")}
        for one in archived
        for problem in one.problems
    ]
    return described, problems


def _plain_name(folder: str, name: str) -> str:
    """Give a file that is named after a log a name that files of sums can hold, and sidecars be made of."""
    plain = component(paths.encode(os.fsencode(name)))
    if plain != name:
        os.rename(os.path.join(folder, name), os.path.join(folder, plain))
    return plain


def _write_sums(building: str, found: Mapping[str, Digests]) -> dict[str, str]:
    """Write the files of sums; returns the SHA-256 of each."""
    digests = {}
    for name, algorithm in SUMS.items():
        file = os.path.join(building, name)
        write_text(file, sums_text(found, algorithm))
        digests[name] = digests_of(file).sha256
    return digests


def _plan(wish: Wish, clock: Clock) -> list[str]:
    """What a run would copy, as paths inside the backup. Reads the beginnings of files at most."""
    date, _time = parse_id(wish.backup_id or make_id(clock.now()))
    json_names = Patterns(wish.documents)
    document_roots = _real_paths(wish.document_paths)
    planned = [f"{DATABASE}/agent_states_{date}.json"]
    logs = batch.find(batch.Wanted(wish.log_paths, wish.destination, exclude=wish.exclude), {})
    planned += [f"{LOGS}/{os.path.basename(log)}" for log in logs]
    planned += [place(DATABASE, paths.encode(dump)) for dump in _dumps(wish)]
    for found in _walk(wish):
        source = paths.encode(found.path)
        kind = "sqlite" if _is_database(found) else "json" if json_names.match(found.path) else ""
        is_document = any(paths.inside(found.path, root) for root in document_roots)
        folder = folder_of(source.rpartition("/")[2], kind, document=is_document)
        if folder is not None:
            planned.append(place(folder, source))
    return sorted(planned)


def _walk(wish: Wish) -> Iterator[Found]:
    gone = [path for path in _wanted(wish) if not os.path.lexists(path)]
    if gone:
        raise BackupError(f"This source does not exist: {', '.join(gone)}", fix="Correct the list of sources")
    source = TreeSource(
        _real_paths(_wanted(wish)),
        staging="",
        exclude=wish.exclude,
        skip=_real_paths((wish.repository, wish.destination)),
    )
    return (found for found in source.walk() if isinstance(found, Found) and stat.S_ISREG(found.stat.st_mode))


def _is_database(found: Found) -> bool:
    try:
        return found.stat.st_size >= len(sqlite.HEADER) and sqlite.is_database(found.path)
    except OSError:
        # It vanished, or cannot be read: the run itself will say so.
        return False
