# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legal and technical documents in another place: sorted, digested, sent, verified and restored (docs/off-site.md)."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence

from ..offsite import catalogue, checking, fetching, sending
from ..offsite.catalogue import canonical
from ..offsite.encryption import Identities, read_identities, read_recipients
from ..offsite.faults import DamagedObjectError, MissingObjectError, OffsiteError
from ..offsite.fetching import Remote
from ..offsite.sending import LocalFile, Progress
from ..offsite.store import ObjectStore
from ..repository import paths
from ..repository.faults import DamagedError
from ..repository.layout import check_host, is_digest, refusals
from .offsite_copies import Copy

FORMAT = "fleetops.continuity off-site documents"
LEGAL, TECHNICAL = KINDS = ("legal", "technical")
PATTERNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        LEGAL: ("*.pdf", "*.doc", "*.docx", "*.odt", "*.rtf", "*contract*", "*licen[cs]e*"),
        TECHNICAL: ("*.md", "*.json", "*.rst", "*.adoc", "*.txt", "*.yaml", "*.yml"),
    }
)
"""Asked in this order; compared with the last name in lower case, or with the whole path when there is a "/" in it."""
ATTEMPTS = 3


@dataclass(frozen=True)
class Document:
    """One document. ``path`` is absolute, spelled as in docs/snapshot-format.md, section 6; digests are hexadecimal."""

    path: str
    kind: str
    size: int
    sha256: str
    md5: str

    def fields(self) -> dict[str, Any]:
        return {"path": self.path, "kind": self.kind, "size": self.size, "sha256": self.sha256, "md5": self.md5}

    def name(self, host: str) -> str:
        return f"documents/{host}/{self.kind}/{self.sha256}"


@dataclass
class SentDocuments:
    """``documents`` are all of the copy, ``sent`` the paths of those that went there in this run, ``problems``
    map a path to why it is not in the copy as it stands."""

    plan: sending.Plan
    host: str
    documents: Sequence[Document] = ()
    sent: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def files(self) -> list[dict[str, Any]]:
        return [{**one.fields(), "object": one.name(self.host) + catalogue.AGE} for one in self.documents]


def send(
    copy: Copy,
    host: str,
    sources: Sequence[str],
    recipients: Sequence[str],
    recipients_file: Optional[str],
    *,
    patterns: Mapping[str, Sequence[str]] = PATTERNS,
    follow_forget: bool = False,
    check: bool = False,
    progress: Optional[Progress] = None,
) -> SentDocuments:
    """Send the documents below ``sources``; ``check`` plans and sends nothing."""
    if not sources:
        raise OffsiteError("There are no documents to send", where="sources", fix="Name files or folders")
    return send_sorted(
        copy,
        host,
        find(sources, patterns),
        recipients,
        recipients_file,
        follow_forget=follow_forget,
        check=check,
        progress=progress,
    )


def send_sorted(
    copy: Copy,
    host: str,
    found: Sequence[tuple[bytes, str]],
    recipients: Sequence[str],
    recipients_file: Optional[str],
    *,
    follow_forget: bool = False,
    check: bool = False,
    progress: Optional[Progress] = None,
) -> SentDocuments:
    """Send (path, kind) as somebody else has sorted them. What is there and not among them any more stays,
    unless ``follow_forget``."""
    check_host(host)
    keys = read_recipients(recipients, recipients_file)
    store = copy.store()
    if follow_forget and (not found or not store.can_list):
        raise OffsiteError(
            "Nothing can be withdrawn where nothing can be listed"
            if found
            else "There is not one document, and every one that was sent would be withdrawn",
            where=store.where,
            fix="Leave follow_forget out, or correct the sources",
        )
    with tempfile.TemporaryDirectory(prefix="continuity-") as folder:
        for _attempt in range(ATTEMPTS):
            documents, problems = digested(found)
            wanted = _wanted(host, documents)
            observed = sending.observe(store, wanted, copy.parallel, Path(folder))
            plan = sending.plan(wanted, observed, withdraw=follow_forget and not problems)
            result = SentDocuments(plan, host, documents, problems=problems)
            if check:
                return result
            done = sending.apply(plan, wanted, store, keys, Path(folder), parallel=copy.parallel, progress=progress)
            names = set(done.sent)
            result.sent += [one.path for one in documents if one.name(host) + catalogue.AGE in names]
            result.withdrawn = done.withdrawn
            if not done.damaged:
                return result
    path, _problem = next(iter(done.damaged.items()))
    raise OffsiteError("A document changes each time while it is sent", where=path, fix="Run again when it is settled")


def _wanted(host: str, documents: Sequence[Document]) -> sending.Wanted:
    files = {
        one.name(host): LocalFile(one.name(host), Path(os.fsdecode(paths.decode(one.path))), one.size, one.sha256)
        for one in documents
    }
    listed = {"format": FORMAT, "version": 1, "host": host, "documents": [one.fields() for one in documents]}
    folders = [f"documents/{host}/{kind}/" for kind in KINDS]
    return sending.Wanted(list(files.values()), canonical(listed), _catalogues(host), "", folders)


def _catalogues(host: str) -> str:
    return f"documents/{check_host(host)}/catalogues/"


def find(sources: Sequence[str], patterns: Mapping[str, Sequence[str]] = PATTERNS) -> list[tuple[bytes, str]]:
    """(path, kind) of every regular file at or below the sources that is a document, sorted. Links are not followed."""
    found: dict[bytes, str] = {}
    for source in sources:
        path = os.fsencode(os.path.realpath(source))
        if not os.path.lexists(path):
            raise OffsiteError("This source does not exist", where=source, fix="Correct the list of sources")
        for file in _files(path):
            kind = _kind(os.fsdecode(file), patterns)
            if kind is not None:
                found[file] = kind
    return sorted(found.items())


def _files(path: bytes) -> Iterator[bytes]:
    if not os.path.isdir(path):
        yield path
        return
    with refusals("Cannot read the documents", path, "Run as somebody who may read them"):
        for folder, folders, names in os.walk(path, onerror=_raise):
            folders.sort()
            yield from (
                os.path.join(folder, name)
                for name in names
                if stat.S_ISREG(os.lstat(os.path.join(folder, name)).st_mode)
            )


def _raise(error: OSError) -> None:
    raise error


def _kind(path: str, patterns: Mapping[str, Sequence[str]]) -> Optional[str]:
    name = os.path.basename(path).lower()
    for kind in KINDS:
        if any(fnmatch.fnmatchcase(path if "/" in one else name, one) for one in patterns.get(kind, ())):
            return kind
    return None


def digested(found: Iterable[tuple[bytes, str]]) -> tuple[list[Document], dict[str, str]]:
    """The documents with their digests, and why some are missing."""
    documents, problems = [], {}
    for path, kind in found:
        spelled = paths.encode(path)
        try:
            document = next(filter(None, (_digest(path, spelled, kind) for _attempt in range(ATTEMPTS))), None)
        except OSError as error:
            problems[spelled] = f"cannot be read: {error.strerror}"
            continue
        if document is None:
            problems[spelled] = f"changed each time while it was read, {ATTEMPTS} times"
        else:
            documents.append(document)
    return documents, problems


def _digest(path: bytes, spelled: str, kind: str) -> Optional[Document]:
    """None when the file changed while it was read."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        before = os.fstat(stream.fileno())
        for piece in iter(lambda: stream.read(1 << 20), b""):
            sha256.update(piece)
            md5.update(piece)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    ):
        return None
    return Document(spelled, kind, after.st_size, sha256.hexdigest(), md5.hexdigest())


def verify(
    copy: Copy,
    host: str,
    identity_files: Sequence[str],
    *,
    sources: Sequence[str] = (),
    patterns: Mapping[str, Sequence[str]] = PATTERNS,
    level: str = "list",
    progress: Optional[Progress] = None,
) -> checking.Checked:
    """Verify the documents of a host where they lie. Without identities the level is ``list``, and the sources say
    what must be there."""
    store = copy.store()
    with tempfile.TemporaryDirectory(prefix="continuity-") as folder:
        if level == "data" or not sources:
            identities = read_identities(identity_files)
            documents, older = _newest(store, host, identities, Path(folder))
        else:
            documents, _problems = digested(find(sources, patterns))
            older = {}
        remote = {one.name(host): Remote(one.name(host), one.size, one.sha256) for one in documents}
        result = checking.check(
            store,
            list(remote.values()),
            identities if level == "data" else None,
            Path(folder),
            parallel=copy.parallel,
            progress=progress,
        )
        result.damaged.update(older)
        return result


def restore(
    copy: Copy,
    host: str,
    identity_files: Sequence[str],
    target: str,
    *,
    include: Sequence[str] = (),
    check: bool = False,
    progress: Optional[Progress] = None,
) -> tuple[list[str], dict[str, str]]:
    """Restore documents below ``target``, under their whole paths: the paths of those that differed or were not there,
    and what is damaged or missing in the copy, and why."""
    identities = read_identities(identity_files)
    store = copy.store()
    with _beside(target, check) as scratch:
        documents, failed = _newest(store, host, identities, scratch)
        wanted = [one for one in documents if _included(one.path, include)]
        if include and not wanted:
            raise OffsiteError(
                f"No document of {host} matches", where=store.where, fix="Name whole paths, or patterns of them"
            )
        base = os.path.abspath(target)
        places = {one: Path(base + os.fsdecode(paths.decode(one.path))) for one in wanted}
        missing = [one for one in wanted if not _is(places[one], one)]
        if check:
            return [one.path for one in missing], failed
        with refusals("Cannot restore the documents", target, "Make room or give permission, and run again"):
            for count, one in enumerate(missing, 1):
                remote = Remote(one.name(host), one.size, one.sha256)
                try:
                    fetching.fetch(store, remote, identities, places[one], scratch)
                except (DamagedObjectError, MissingObjectError) as error:
                    failed[one.path] = error.what
                if progress is not None:
                    progress(count, one.size)
        return [one.path for one in missing if one.path not in failed], failed


@contextmanager
def _beside(target: str, check: bool) -> Iterator[Path]:
    """A folder for what is fetched, on the file system of the target, so that a document appears whole."""
    if not check:
        os.makedirs(target, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".continuity-", dir=None if check else target) as folder:
        yield Path(folder)


def _included(path: str, include: Sequence[str]) -> bool:
    raw = paths.decode(path)
    return not include or any(
        paths.inside(raw, os.fsencode(one).rstrip(b"/") or b"/") or fnmatch.fnmatchcase(raw, os.fsencode(one))
        for one in include
    )


def _is(place: Path, wanted: Document) -> bool:
    """Whether the document stands there already."""
    try:
        found = _digest(os.fsencode(place), wanted.path, wanted.kind)
    except OSError:
        return False
    return found == wanted


def _newest(store: ObjectStore, host: str, identities: Identities, work: Path) -> tuple[list[Document], dict[str, str]]:
    """The documents of the newest catalogue of a host that is sound, and what is wrong with newer ones."""
    known = catalogue.published(store, _catalogues(host), work)
    if not known:
        raise OffsiteError(
            f"There are no documents of {host} here", where=store.where, fix="Correct host or destination"
        )
    return catalogue.newest_sound(store, known, identities, work, FORMAT, _documents_of)


def _documents_of(found: Mapping[str, Any], where: str) -> list[Document]:
    """The documents of a catalogue, each checked."""
    try:
        documents = [
            Document(str(one["path"]), one["kind"], int(one["size"]), one["sha256"], str(one["md5"]))
            for one in found["documents"]
        ]
        for one in documents:
            paths.check(paths.decode(one.path))
            if one.kind not in KINDS or not is_digest(one.sha256):
                raise ValueError(one.path)
    except (KeyError, TypeError, ValueError, DamagedError) as error:
        raise DamagedObjectError(f"The catalogue of documents is malformed: {error}", where=where) from error
    return documents
