# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts sources and repository together: what the modules and the command line have in common.

What only one operation needs is imported by it: a command is started often, and loading the others would take
longer than restoring a file.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Sequence, Union

from ..errors import ContinuityError
from ..repository import manifests, paths
from ..repository.blocks import BlockReader, content, entries_of
from ..repository.entries import Content, Entry
from ..repository.faults import RepositoryError
from ..repository.index import Index
from ..repository.layout import Repository, check_host, is_repository, refusals
from ..repository.manifests import Manifest
from ..source import Piece

if TYPE_CHECKING:
    from ..effects import Clock, Runner
    from ..repository.comparing import Compared
    from ..repository.restoring import Progress, Restored
    from ..repository.taking import Outcome
    from ..repository.verifying import Verified
    from ..sources.databases import Database, DatabaseSource
    from ..sources.tree import TreeSource

DOCUMENTS = ("*.json",)


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to be in a snapshot. ``sources`` are paths as given, see ``default_sources``;
    dumps of ``databases`` get their place below ``database_folder``; ``pin`` says whether the snapshot is
    to be pinned, None leaves that as it is."""

    host: str
    sources: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    documents: tuple[str, ...] = DOCUMENTS
    restore_point: Optional[str] = None
    tags: tuple[str, ...] = ()
    pin: Optional[bool] = None
    if_changed: bool = False
    wait: float = 60.0
    databases: tuple[Database, ...] = ()
    database_folder: str = "/databases"


def host_name(root: Optional[str], given: Optional[str]) -> str:
    """The host's name in the fleet: as given, as in the host root, or the machine's own."""
    if given:
        return check_host(given)
    record = Path(root or "/nonexistent") / "host.json"
    try:
        return check_host(str(json.loads(record.read_bytes())["host"]))
    except FileNotFoundError:
        return check_host(os.uname().nodename.partition(".")[0])
    except (ValueError, KeyError, TypeError) as error:
        raise ContinuityError(
            "This is not the record of a host", where=str(record), fix="Run the rollout's first step"
        ) from error


def default_sources(root: str) -> tuple[str, ...]:
    """What a fleet host must not lose: its agents' state, its ledger, its current release's config."""
    wanted = [os.path.join(root, "state"), os.path.join(root, "ledger"), os.path.join(root, "current", "config")]
    return tuple(path for path in wanted if os.path.isdir(path))


def take_snapshot(
    repository_path: str,
    wanted: Wanted,
    clock: Clock,
    *,
    runner: Optional[Runner] = None,
    check: bool = False,
    progress: Optional[Progress] = None,
    recipients: Sequence[str] = (),
    recipients_file: Optional[str] = None,
    identity_files: Sequence[str] = (),
) -> Outcome:
    """Take a snapshot, making the repository when there is none, with recipients an encrypted one (see
    ``Repository.init``). A restore point that exists for this host already is returned as it is. ``check``
    reads and compares, and writes nothing. ``runner`` is needed for databases."""
    import tempfile

    sources = _real(wanted.sources) if wanted.sources or not wanted.databases else ()
    with refusals("Cannot take the snapshot", repository_path, "Run as the owner of the repository"):
        if check and not is_repository(repository_path):
            with tempfile.TemporaryDirectory(prefix="continuity-") as folder:
                empty, _made = Repository.init(folder, clock.now())
                return _take(empty, wanted, sources, repository_path, clock, runner, True, progress)
        if check:
            repository = Repository.open(repository_path, identity_files)
        else:
            repository, _made = Repository.init(
                repository_path,
                clock.now(),
                recipients=recipients,
                recipients_file=recipients_file,
                identity_files=identity_files,
            )
        return _take(repository, wanted, sources, repository_path, clock, runner, check, progress)


def _take(
    repository: Repository,
    wanted: Wanted,
    sources: tuple[bytes, ...],
    repository_path: str,
    clock: Clock,
    runner: Optional[Runner],
    check: bool,
    progress: Optional[Progress],
) -> Outcome:
    from ..repository import pins
    from ..repository.taking import Outcome, named

    with _turn(repository, wanted, clock, check):
        there = named(repository, wanted.host, wanted.restore_point) if wanted.restore_point else None
        outcome = (
            Outcome.existing(there)
            if there is not None
            else _take_new(repository, wanted, sources, repository_path, clock, runner, check, progress)
        )
        if outcome.manifest is not None:
            was = outcome.manifest.digest in pins.pinned(repository)
            outcome.pinned = was if wanted.pin is None else wanted.pin
            outcome.pin_changed = outcome.pinned != was
            if outcome.pin_changed and not check:
                if outcome.pinned:
                    pins.pin(repository, outcome.manifest, clock.now())
                else:
                    pins.unpin(repository, outcome.manifest)
        return outcome


def _take_new(
    repository: Repository,
    wanted: Wanted,
    sources: tuple[bytes, ...],
    repository_path: str,
    clock: Clock,
    runner: Optional[Runner],
    check: bool,
    progress: Optional[Progress],
) -> Outcome:
    from ..repository.taking import Request, take
    from ..sources.tree import TreeSource

    folder = os.fsencode(os.path.realpath(wanted.database_folder))
    dumps = [os.path.join(folder, os.fsencode(one.file_name)) for one in wanted.databases]
    with _staging(repository, wanted.host, check) as staging, ExitStack() as stack:
        tree = TreeSource(
            sources,
            staging=staging,
            exclude=wanted.exclude,
            documents=wanted.documents,
            skip=[os.fsencode(os.path.realpath(repository_path)), *dumps],
        )
        source: Union[TreeSource, DatabaseSource] = tree
        if wanted.databases:
            if runner is None:
                raise RepositoryError("Databases cannot be dumped here", fix="Take the snapshot without them")
            source = stack.enter_context(_with_dumps(tree, wanted.databases, folder, staging, runner))
        request = Request(
            host=wanted.host,
            sources=source.roots,
            exclude=wanted.exclude,
            restore_point=wanted.restore_point,
            tags=wanted.tags,
            if_changed=wanted.if_changed,
        )
        return take(repository, request, source, clock, measure=check, progress=progress)


def _with_dumps(
    tree: TreeSource, databases: Sequence[Database], folder: bytes, staging: str, runner: Runner
) -> DatabaseSource:
    from ..sources import postgresql, redis
    from ..sources.databases import DatabaseSource

    dumpers = {"postgresql": postgresql.dump, "redis": redis.dump}
    return DatabaseSource(tree, databases, folder, staging=staging, runner=runner, dumpers=dumpers)


@contextmanager
def _turn(repository: Repository, wanted: Wanted, clock: Clock, check: bool) -> Iterator[None]:
    from ..repository.locks import writing

    if check:
        yield
        return
    with writing(repository, wanted.host, clock, wanted.wait):
        repository.clear_staging(wanted.host)
        yield


@contextmanager
def _staging(repository: Repository, host: str, check: bool) -> Iterator[str]:
    """Where copies of databases go: beside the packs, or elsewhere when nothing may be written there."""
    import tempfile

    if check:
        with tempfile.TemporaryDirectory(prefix="continuity-") as folder:
            yield folder
    else:
        yield str(repository.staging(host))


def _real(sources: Sequence[str]) -> tuple[bytes, ...]:
    from ..sources.tree import outermost

    if not sources:
        raise RepositoryError("There is nothing to take a snapshot of", fix="Name at least one path")
    gone = [path for path in sources if not os.path.lexists(path)]
    if gone:
        raise RepositoryError(f"This source does not exist: {', '.join(gone)}", fix="Correct the list of sources")
    return outermost([os.fsencode(os.path.realpath(path)) for path in sources])


def incomplete(outcome: Outcome) -> list[dict[str, str]]:
    """The problems after which the snapshot does not hold everything as it stood."""
    from ..repository.reading import HARMLESS

    return [problem.fields() for problem in outcome.problems if problem.kind not in HARMLESS]


def restore_snapshot(
    repository_path: str,
    snapshot: str,
    *,
    host: Optional[str] = None,
    target: Optional[str] = None,
    include: Sequence[str] = (),
    agents: Sequence[str] = (),
    check: bool = False,
    progress: Optional[Progress] = None,
    identity_files: Sequence[str] = (),
) -> tuple[Manifest, Restored]:
    """Restore to ``target`` (a folder that stands for ``/``), or in place when it is None: what ``include`` and
    ``agents`` name, everything when both are empty. ``identity_files`` name private keys of age, for an
    encrypted repository, here and below."""
    from ..repository.restoring import Restore, Selection

    _check_target(target)
    repository = Repository.open(repository_path, identity_files)
    with _reading(repository_path):
        manifest = manifests.find(repository, snapshot, host)
        reader = BlockReader(repository, Index(repository))
    try:
        named = [os.fsencode(path).rstrip(b"/") or b"/" for path in include]
        selection = Selection((*named, *_state_of(manifest, agents)))
        absolute = None if target is None else os.path.abspath(target)
        restore = Restore(reader, manifest, target=absolute, selection=selection, apply=not check, progress=progress)
        with refusals("Cannot restore", absolute or "/", "Make room or give permission, and run again: it goes on"):
            return manifest, restore.run()
    finally:
        reader.close()


def _check_target(target: Optional[str]) -> None:
    """A variable that is not set shall not mean the folder in which somebody happens to stand."""
    if target == "":
        raise RepositoryError("The target has no name", fix="Name the folder; / for the files where they came from")


def _state_of(manifest: Manifest, agents: Sequence[str]) -> list[bytes]:
    """The folders ``<root>/state/<agent>`` of a snapshot of a host root (docs/design.md, section 6)."""
    folders = [paths.decode(source) for source in manifest.sources if source.endswith("/state")]
    if agents and not folders:
        raise RepositoryError(
            "This snapshot holds no agents' state: none of its sources is the folder 'state' of a host root",
            where=manifest.id,
            fix="Name paths instead; snapshots lists what the snapshot holds",
        )
    return [folder + b"/" + os.fsencode(agent) for folder in folders for agent in agents]


def _reading(repository_path: str) -> AbstractContextManager[None]:
    return refusals("Cannot read the repository", repository_path, "Run as its owner")


def verify_repository(
    repository_path: str,
    snapshots: Sequence[str] = (),
    *,
    host: Optional[str] = None,
    level: str = "files",
    expected: Optional[str] = None,
    progress: Optional[Progress] = None,
    identity_files: Sequence[str] = (),
) -> Verified:
    """Verify named snapshots, or all."""
    from ..repository.verifying import verify

    repository = Repository.open(repository_path, identity_files)
    with _reading(repository_path):
        if host and not expected and not (repository.manifests / check_host(host)).is_dir():
            raise RepositoryError(
                f"There is no snapshot of {host}",
                where=repository_path,
                fix="`continuity snapshots` lists what there is",
            )
        chosen = [manifests.find(repository, name, host) for name in snapshots] or None
        return verify(repository, chosen, host=host, level=level, expected=expected, progress=progress)


def only_one(names: Sequence[str]) -> str:
    """The one snapshot that is named, the latest without a name."""
    if len(names) > 1:
        raise RepositoryError("Files are compared with one snapshot", where=", ".join(names), fix="Name one")
    return names[0] if names else "latest"


def compare_tree(
    repository_path: str,
    snapshot: str,
    target: str,
    *,
    host: Optional[str] = None,
    expected: Optional[str] = None,
    identity_files: Sequence[str] = (),
) -> Compared:
    """Compare what stands below ``target`` (which stands for ``/``) with a snapshot; ``expected`` is its digest, as
    noted elsewhere."""
    import tempfile

    from ..repository.comparing import compare
    from ..sources.tree import TreeSource

    _check_target(target)
    repository = Repository.open(repository_path, identity_files)
    with _reading(repository_path):
        manifest = manifests.find(repository, snapshot, host)
        reader = BlockReader(repository, Index(repository))
    if expected not in (None, manifest.digest):
        raise RepositoryError(
            f"This is not the expected snapshot: its digest is {manifest.digest}",
            where=manifest.id,
            fix="Name the snapshot that is meant; verify the repository if it should be this one",
        )
    base = os.fsencode(os.path.realpath(target))
    try:
        with tempfile.TemporaryDirectory(prefix="continuity-") as staging:
            source = TreeSource(
                [base.rstrip(b"/") + paths.decode(path) for path in manifest.sources],
                staging=staging,
                exclude=manifest.exclude,
                skip=[os.fsencode(os.path.realpath(repository_path))],
            )
            return compare(reader, manifest, source, base)
    finally:
        reader.close()


def list_snapshots(
    repository_path: str, *, host: Optional[str] = None, restore_point: Optional[str] = None, tags: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """(the snapshots, oldest first; what is wrong with manifests that cannot be read)."""
    from ..repository.pins import pinned

    repository = Repository.open(repository_path)
    with _reading(repository_path):
        found, damaged = manifests.readable(repository, host)
    chosen = [
        manifest
        for manifest in found
        if restore_point in (None, manifest.restore_point) and set(tags) <= set(manifest.tags)
    ]
    exempt = pinned(repository)
    described = [
        manifests.describe(one, exempt) for one in sorted(chosen, key=lambda one: (one.time, one.host, one.sequence))
    ]
    return described, [str(fault) for fault in damaged]


@contextmanager
def opened(
    repository_path: str, snapshot: str, *, host: Optional[str] = None, identity_files: Sequence[str] = ()
) -> Iterator[tuple[Manifest, Iterator[Entry], Callable[[Content], Iterator[Piece]]]]:
    """A snapshot to read from: its manifest, its entries in order, and what yields the content of one."""
    repository = Repository.open(repository_path, identity_files)
    with _reading(repository_path):
        manifest = manifests.find(repository, snapshot, host)
        reader = BlockReader(repository, Index(repository))
    try:
        yield manifest, entries_of(reader, manifest), lambda wanted: content(reader, wanted)
    finally:
        reader.close()


def list_entries(
    repository_path: str, snapshot: str, *, host: Optional[str] = None, identity_files: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """What a snapshot holds: path (encoded), type, mode, size, sha256 and md5 of each entry, in order."""
    with opened(repository_path, snapshot, host=host, identity_files=identity_files) as (_manifest, entries, _content):
        for entry in entries:
            yield {
                "path": paths.encode(entry.path),
                "type": entry.type,
                "mode": entry.mode,
                "size": entry.content.size if entry.content else 0,
                "sha256": entry.content.sha256 if entry.content else None,
                "md5": entry.content.md5 if entry.content else None,
            }
