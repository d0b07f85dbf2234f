# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of a repository in another place: sent, verified there, restored from there (docs/off-site.md)."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence

from ..effects import Clock
from ..offsite import catalogue, checking, fetching, sending
from ..offsite.catalogue import canonical
from ..offsite.destination import Destination, open_store
from ..offsite.encryption import Identities, read_identities, read_recipients
from ..offsite.faults import DamagedObjectError, MissingObjectError, OffsiteError
from ..offsite.fetching import Remote
from ..offsite.sending import LocalFile, Progress
from ..offsite.store import ObjectStore
from ..repository import forgotten, manifests
from ..repository.blocks import BlockReader, entries_of
from ..repository.faults import RepositoryError
from ..repository.index import Index
from ..repository.layout import Repository, refusals
from ..repository.locks import sending as sending_alone
from ..repository.manifests import Manifest
from ..repository.restoring import Restored, Selection
from . import snapshots

FORMAT = "fleetops.continuity off-site catalogue"
CATALOGUES = "catalogues/"
FOLDERS = ("packs/", "index/", "manifests/")
"""In the order in which they are sent: whatever refers to something else comes after it."""
ATTEMPTS = 3
_HOST = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
_FILES = re.compile(
    rf"packs/[0-9a-f]{{2}}/([0-9a-f]{{64}})\.pack|index/([0-9a-f]{{64}})\.index|manifests/{_HOST}/\d{{8}}-([0-9a-f]{{64}})\.json"
)
_CARRIED = re.compile(
    rf"config\.json|pins/[0-9a-f]{{64}}\.json|manifests/{_HOST}/(forgotten\.jsonl|\d{{8}}-[0-9a-f]{{64}}\.json\.sig)"
)


@dataclass(frozen=True)
class Copy:
    """Where a copy is, and how many objects travel at once."""

    destination: Destination
    parallel: int = 4

    def store(self) -> ObjectStore:
        return open_store(self.destination)


def send(
    repository_path: str,
    copy: Copy,
    recipients: Sequence[str],
    recipients_file: Optional[str],
    clock: Clock,
    *,
    follow_forget: bool = False,
    append_only: bool = False,
    wait: float = 60.0,
    check: bool = False,
    progress: Optional[Progress] = None,
) -> tuple[sending.Plan, sending.Sent]:
    """Send what the copy lacks; with ``follow_forget`` withdraw what the repository has no more, unless
    it or the call says append-only. ``check`` plans and sends nothing."""
    keys = read_recipients(recipients, recipients_file)
    store = copy.store()
    repository = Repository.open(repository_path)
    withdraw = follow_forget and not append_only and not repository.append_only
    if withdraw and not (store.can_list and manifests.files(repository)):
        raise OffsiteError(
            "The repository holds not one snapshot, and every one that was sent would be withdrawn"
            if store.can_list
            else "Nothing can be withdrawn where nothing can be listed",
            where=store.where,
            fix="Leave follow_forget out",
        )
    if check:
        with tempfile.TemporaryDirectory(prefix="continuity-") as folder:
            wanted = _wanted(repository)
            observed = sending.observe(store, wanted, copy.parallel, Path(folder))
            return sending.plan(wanted, observed, withdraw=withdraw), sending.Sent()
    with sending_alone(repository, clock, wait), _staging(repository) as scratch:
        for _attempt in range(ATTEMPTS):
            wanted = _wanted(repository)
            plan = sending.plan(wanted, sending.observe(store, wanted, copy.parallel, scratch), withdraw=withdraw)
            sent = sending.apply(plan, wanted, store, keys, scratch, parallel=copy.parallel, progress=progress)
            # What was pruned while we were sending is not wanted any more.
            if not any(not os.path.exists(path) for path in sent.damaged):
                break
    if sent.damaged:
        path, problem = next(iter(sent.damaged.items()))
        raise OffsiteError(
            f"{len(sent.damaged)} files of the repository cannot be sent; this one {problem}",
            where=path,
            fix="Heal the repository, and run again: what was sent is kept, the copy before stays whole",
        )
    return plan, sent


def _wanted(repository: Repository) -> sending.Wanted:
    """Everything that is published. Prune may take files away while they are listed: then once more."""
    with _reading(repository):
        for _attempt in range(ATTEMPTS - 1):
            try:
                return _listed(repository)
            except FileNotFoundError:
                continue
        return _listed(repository)


def _listed(repository: Repository) -> sending.Wanted:
    """Manifests are listed first: what they need was there before them."""
    named = manifests.files(repository)
    carried = _carried(repository)
    indexes = sorted(repository.index.glob("*.index"))
    packs = sorted(pack.hex() for pack in Index(repository).packs())
    files = [_local(repository, repository.pack_file(pack), pack, 0) for pack in packs]
    files += [_local(repository, file, file.name[:64], 1) for file in indexes]
    files += [_local(repository, file, file.name[9:73], 2) for file in named]
    document = {
        "format": FORMAT,
        "version": 1,
        "repository": repository.id,
        "files": {file.name: file.size for file in files},
        "carried": carried,
    }
    return sending.Wanted(files, canonical(document), CATALOGUES, repository.id, FOLDERS)


def _local(repository: Repository, file: Path, digest: str, stage: int) -> LocalFile:
    return LocalFile(file.relative_to(repository.root).as_posix(), file, file.stat().st_size, digest, stage)


def _carried(repository: Repository) -> dict[str, str]:
    """The small files whose names do not say what is in them."""
    files = [repository.root / "config.json", *repository.pins.glob("*.json")]
    files += [*repository.manifests.glob(f"*/{forgotten.NAME}"), *repository.manifests.glob("*/*.json.sig")]
    named = ((file.relative_to(repository.root).as_posix(), file) for file in sorted(files))
    return {name: file.read_text("utf-8") for name, file in named if _CARRIED.fullmatch(name)}


def verify(
    copy: Copy,
    identity_files: Sequence[str],
    *,
    repository_path: Optional[str] = None,
    level: str = "list",
    expected: Optional[str] = None,
    scratch: Optional[str] = None,
    progress: Optional[Progress] = None,
) -> checking.Checked:
    """Verify a copy where it lies. Without identities the level is ``list``, and the repository says what must
    be there; with them the copy's own catalogue does."""
    store = copy.store()
    if level == "data" or repository_path is None:
        identities = read_identities(identity_files)
        with _scratch(scratch) as folder:
            work = _folder(folder / "tmp" / "offsite")
            files, carried, older = _newest(store, identities, work)
            wanted = [file for file in files if not file.name.startswith("manifests/")]
            result = checking.check(
                store, wanted, identities if level == "data" else None, work, parallel=copy.parallel, progress=progress
            )
            result.damaged.update(older)
            _check_chain(store, files, carried, identities, folder, work, result, expected)
            return result
    repository = Repository.open(repository_path)
    with tempfile.TemporaryDirectory(prefix="continuity-") as temporary:
        local = _wanted(repository)
        remote = [Remote(file.name, file.size, file.sha256) for file in local.files]
        result = checking.check(store, remote, None, Path(temporary), parallel=copy.parallel, progress=progress)
        known = catalogue.published(store, local.catalogues, Path(temporary))
        if not known or known[-1].digest != catalogue.sha256(local.catalogue):
            result.chain.append("the newest catalogue there is not that of the repository: send again")
        return result


def _check_chain(
    store: ObjectStore,
    files: Sequence[Remote],
    carried: Mapping[str, str],
    identities: Identities,
    folder: Path,
    work: Path,
    result: checking.Checked,
    expected: Optional[str],
) -> None:
    """Manifests are small: they are fetched at every level, and their chain is looked at."""
    _write_carried(folder, carried)
    repository = Repository.open(str(folder))
    for file in files:
        if file.name.startswith("manifests/"):
            result.objects, result.bytes = result.objects + 1, result.bytes + file.size
            try:
                fetching.fetch(store, file, identities, folder / file.name, work)
            except MissingObjectError:
                result.missing.append(file.object)
            except DamagedObjectError as error:
                result.damaged[file.object] = error.what
    digests = set()
    for host in sorted(one.name for one in manifests.folders(repository)):
        readable, damaged = manifests.readable(repository, host)
        digests |= {manifest.digest for manifest in readable}
        result.chain += [str(fault) for fault in damaged]
        result.chain += manifests.chain_faults(readable, forgotten.read(repository, host))
    if expected is not None and expected not in digests:
        result.chain.append(f"the snapshot {expected[:12]} is not in the copy")


def restore(
    copy: Copy,
    snapshot: str,
    identity_files: Sequence[str],
    *,
    host: Optional[str] = None,
    target: Optional[str] = None,
    include: Sequence[str] = (),
    scratch: Optional[str] = None,
    check: bool = False,
    progress: Optional[Progress] = None,
) -> tuple[Manifest, Restored]:
    """Restore straight from a copy: what is needed is fetched into ``scratch`` (None: a temporary folder)."""
    with fetched(copy, identity_files, scratch) as far, _said_of(copy, far):
        with _reading(far.repository):
            manifest = manifests.find(far.repository, snapshot, host)
        selection = Selection(tuple(os.fsencode(path).rstrip(b"/") or b"/" for path in include))
        far.fetch_packs_of(manifest, selection, progress)
        manifest, restored = snapshots.restore_snapshot(
            str(far.repository.root),
            manifest.digest,
            target=target,
            include=include,
            check=check,
            progress=progress,
            identity_files=far.identity_files,
        )
        restored.warnings += [f"{name}: {reason}" for name, reason in sorted(far.lost.items())]
        # What is newest is not known then.
        restored.failed.update(far.older)
        return manifest, restored


@contextmanager
def _said_of(copy: Copy, far: Fetched) -> Iterator[None]:
    """What is wrong is wrong with the copy: nobody knows the folder into which it was fetched."""
    try:
        yield
    except RepositoryError as error:
        scratch = str(far.repository.root)
        error.what = error.what.replace(scratch, copy.destination.url)
        if error.where is not None and error.where.startswith(scratch):
            error.where = copy.destination.url + error.where[len(scratch) :]
        if far.lost:
            error.fix = f"This is damaged in the copy: {', '.join(sorted(far.lost))}"
        elif error.where == copy.destination.url:
            there = [f"{one.id} of {one.host}" for one in manifests.readable(far.repository)[0]]
            error.fix = f"There are {len(there)}, last of all {', '.join(there[-5:])}"
        raise


def list_snapshots(
    copy: Copy, identity_files: Sequence[str], *, host: Optional[str] = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """What is in a copy, as ``snapshots.list_snapshots`` says it of a repository."""
    with fetched(copy, identity_files, None) as far:
        found, damaged = snapshots.list_snapshots(str(far.repository.root), host=host)
        return found, damaged + [f"{name}: {reason}" for name, reason in sorted({**far.lost, **far.older}.items())]


class Fetched:
    """A repository made of a copy: manifests and index are there, packs as far as they were asked for.

    ``lost`` maps objects that are damaged or missing to the reason; ``older`` those newest catalogues instead of
    which an older one is used.
    """

    def __init__(
        self,
        copy: Copy,
        store: ObjectStore,
        identity_files: Sequence[str],
        files: Sequence[Remote],
        root: Path,
        older: Mapping[str, str],
    ) -> None:
        identities = read_identities(identity_files)
        self._copy, self._store, self._identities = copy, store, identities
        self._packs = {file.sha256: file for file in files if file.name.startswith("packs/")}
        self._work = _folder(root / "tmp" / "offsite")
        self.lost: dict[str, str] = {}
        self.older = older
        self._fetch((file for file in files if not file.name.startswith("packs/")), root, None, self.lost)
        # One file may open the copy, another the repository in it; each is tried for both.
        self.identity_files = tuple(identity_files) if Repository.open(str(root)).encrypted else ()
        self.repository = Repository.open(str(root), self.identity_files)

    def fetch_packs(self, packs: Iterable[str], progress: Optional[Progress] = None) -> int:
        """Fetch packs (hexadecimal names) that are not there yet; how many were. Those that the catalogue does not
        name are left out. Raises DamagedObjectError, MissingObjectError."""
        return self._fetch(self._known(packs), self.repository.root, progress)

    def _known(self, packs: Iterable[str]) -> list[Remote]:
        return [self._packs[pack] for pack in sorted(set(packs)) if pack in self._packs]

    def fetch_packs_of(self, manifest: Manifest, selection: Selection, progress: Optional[Progress] = None) -> int:
        """Fetch what restoring these entries of a snapshot needs. What is lost is noted: whoever reads it says
        which path it belongs to."""
        index, root = Index(self.repository), self.repository.root
        lists = self._known(_packs_of(index, (segment.block for segment in manifest.segments)))
        count = self._fetch(lists, root, progress, self.lost)
        reader = BlockReader(self.repository, index)
        try:
            wanted = (
                bytes.fromhex(part)
                for entry in entries_of(reader, manifest)
                if entry.content is not None and selection.wants(entry.path)
                for part in entry.content.blocks
                if isinstance(part, str)
            )
            packs = _packs_of(index, wanted)
        finally:
            reader.close()
        return count + self._fetch(self._known(packs), root, progress, self.lost)

    def _fetch(
        self,
        files: Iterable[Remote],
        root: Path,
        progress: Optional[Progress],
        lost: Optional[dict[str, str]] = None,
    ) -> int:
        with refusals("Cannot write what was fetched", root, "Make room, or name another scratch folder"):
            return fetching.fetch_all(
                self._store,
                ((file, root / file.name) for file in files),
                self._identities,
                self._work,
                parallel=self._copy.parallel,
                lost=lost,
                progress=progress,
            )


@contextmanager
def fetched(copy: Copy, identity_files: Sequence[str], scratch: Optional[str]) -> Iterator[Fetched]:
    """A repository made of the newest state of a copy, without packs, to read from or to heal from."""
    identities = read_identities(identity_files)
    store = copy.store()
    with ExitStack() as stack:
        root = stack.enter_context(_scratch(scratch))
        files, carried, older = _newest(store, identities, _folder(root / "tmp" / "offsite"))
        _clear(root, files)
        _write_carried(root, carried)
        yield Fetched(copy, store, identity_files, files, root, older)


def _packs_of(index: Index, blocks: Iterable[bytes]) -> set[str]:
    """The first pack of each block is the one that is read first."""
    return {place.pack.hex() for block in blocks for place in islice(index.places(block), 1)}


def _newest(
    store: ObjectStore, identities: Identities, work: Path
) -> tuple[list[Remote], dict[str, str], dict[str, str]]:
    """The files and the carried files of the newest catalogue that is sound, and what is wrong with newer ones."""
    known = catalogue.published(store, CATALOGUES, work)
    if len({one.owner for one in known}) != 1:
        what = "Here are the copies of several repositories" if known else "There is no copy here"
        raise OffsiteError(what, where=store.where, fix="Correct the destination")
    (files, carried), older = catalogue.newest_sound(store, known, identities, work, FORMAT, _files_of)
    return files, carried, older


def _files_of(document: Mapping[str, Any], where: str) -> tuple[list[Remote], dict[str, str]]:
    """The files and the carried files of a catalogue; names that are not of a repository are refused."""
    files, carried = document.get("files"), document.get("carried")
    if not isinstance(files, dict) or not isinstance(carried, dict):
        raise DamagedObjectError("This is not the catalogue of a copy", where=where)
    remote = []
    for name, size in files.items():
        found = _FILES.fullmatch(name)
        if found is None or not isinstance(size, int) or size < 0:
            raise DamagedObjectError(f"The catalogue names {name!r}", where=where)
        remote.append(Remote(name, size, next(filter(None, found.groups()))))
    for name, text in carried.items():
        if _CARRIED.fullmatch(name) is None or not isinstance(text, str):
            raise DamagedObjectError(f"The catalogue carries {name!r}", where=where)
    return remote, carried


def _write_carried(root: Path, carried: Mapping[str, str]) -> None:
    for folder in ("packs", "index", "manifests", "pins", "locks"):
        _folder(root / folder)
    for name, text in carried.items():
        _folder((root / name).parent)
        (root / name).write_text(text, "utf-8")


def _clear(root: Path, files: Sequence[Remote]) -> None:
    """A scratch folder that was used before holds only what the newest catalogue names."""
    names = {file.name for file in files}
    for folder in ("index", "manifests", "pins"):
        for file in [*root.glob(f"{folder}/*"), *root.glob(f"{folder}/*/*")]:
            if file.is_file() and file.relative_to(root).as_posix() not in names:
                file.unlink()


@contextmanager
def _scratch(path: Optional[str]) -> Iterator[Path]:
    if path is None:
        with tempfile.TemporaryDirectory(prefix="continuity-") as folder:
            yield Path(folder)
        return
    root = Path(path)
    if root.is_dir() and any(root.iterdir()) and not (root / "config.json").exists():
        raise RepositoryError("This folder holds something else", where=path, fix="Name an empty folder for scratch")
    with refusals("Cannot use the scratch folder", root, "Make room, or name another one"):
        yield _folder(root)


@contextmanager
def _staging(repository: Repository) -> Iterator[Path]:
    owner = ".offsite"
    repository.clear_staging(owner)
    try:
        yield repository.staging(owner)
    finally:
        shutil.rmtree(repository.root / "tmp" / owner, ignore_errors=True)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def _reading(repository: Repository) -> Any:
    return refusals("Cannot read the repository", repository.root, "Run as its owner; heal it when a file is gone")
