# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries: the lines that say what a snapshot holds (docs/snapshot-format.md, section 6)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from types import MappingProxyType
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence, Union

from . import paths
from .faults import DamagedError
from .layout import is_digest

TYPES = ("file", "directory", "symlink", "fifo")
MAX_SIZE = 1 << 44
"""No file is larger on the file systems of today; a manifest that claims one wants to waste time."""
Part = Union[str, int]
"""A block (its digest, hexadecimal) or a hole (its length)."""


class Content(NamedTuple):
    """What a file holds: its size, its digests (hexadecimal), its parts in order."""

    size: int
    sha256: str
    md5: str
    blocks: tuple[Part, ...]


class Entry(NamedTuple):
    """One file, directory, link or pipe of a snapshot, checked."""

    path: bytes
    type: str
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    mtime: int
    seen: str = ""
    content: Optional[Content] = None
    target: bytes = b""
    hard_link: str = ""
    kind: str = ""
    xattrs: Mapping[bytes, bytes] = MappingProxyType({})
    evidence: Optional[Content] = None
    unsettled: bool = False
    damaged: str = ""


def opening(path: bytes, seen: bytes) -> bytes:
    """How the line of an entry starts that was seen like this and not changed since."""
    return b'{"path":"%s","seen":"%s",' % (paths.encode_bytes(path), seen)


def line_path(line: bytes) -> bytes:
    """The path of a line of a snapshot that this program has checked before."""
    return paths.decode(line[9 : line.index(b'"', 9)].decode())


def line(path: bytes, seen: bytes, rest: Mapping[str, Any]) -> bytes:
    """One line; ``rest`` holds everything after ``path`` and ``seen``, in the order of the format."""
    return opening(path, seen) + json.dumps(rest, separators=(",", ":"), ensure_ascii=False)[1:].encode() + b"\n"


def without_seen(line_of_entry: bytes) -> bytes:
    """A line as far as it speaks of the source itself, to compare two snapshots."""
    start = line_of_entry.index(b'","seen":"') + 10
    return line_of_entry[:start] + line_of_entry[line_of_entry.index(b'"', start) :]


def content_fields(content: Content) -> dict[str, Any]:
    return {"size": content.size, "sha256": content.sha256, "md5": content.md5, "blocks": list(content.blocks)}


def xattr_fields(xattrs: Mapping[bytes, bytes]) -> dict[str, str]:
    return {paths.encode(name): base64.b64encode(xattrs[name]).decode() for name in sorted(xattrs)}


_COMMON = re.compile(
    r'{"path":"((?:/(?!\.{1,2}[/"])[ !#$&-.0-\[\]-~]+)+)","seen":"([0-9.]*)","type":"file","mode":([1-9]\d{0,3}|0),'
    r'"uid":([1-9]\d{0,8}|0),"gid":([1-9]\d{0,8}|0),"user":"([\w.-]*)","group":"([\w.-]*)","mtime":([1-8]\d{0,18}|0),'
    r'"size":([1-9]\d{0,11}|0),"sha256":"([0-9a-f]{64})","md5":"([0-9a-f]{32})",'
    r'"blocks":\["([0-9a-f]{64}(?:","[0-9a-f]{64})*)"\](?:,"kind":"([a-z]+)")?}',
    re.ASCII,
)
"""The line of an ordinary file as this program writes it. The numbers fit by their length alone, but for the mode."""


def parse(text: bytes) -> Entry:
    """Read one line as if an enemy had written it. Raises DamagedError."""
    common = _COMMON.fullmatch(text.decode("latin-1"))
    if common is None or common.end(1) > paths.MAX_PATH:
        return _parse(text)
    path, seen, mode, uid, gid, user, group, mtime, size, sha256, md5, blocks, kind = common.groups()
    if int(mode) > 0o7777:
        return _parse(text)
    return Entry(
        path.encode(),
        "file",
        int(mode),
        int(uid),
        int(gid),
        user,
        group,
        int(mtime),
        seen,
        Content(int(size), sha256, md5, tuple(blocks.split('","'))),
        kind=kind or "",
    )


def _parse(text: bytes) -> Entry:
    try:
        fields = json.loads(text)
        path = paths.decode(fields["path"])
        paths.check(path)
        kind = fields["type"]
        if kind not in TYPES:
            raise DamagedError(f"Type {kind!r} is unknown")
        return Entry(
            path=path,
            type=kind,
            mode=_number(fields["mode"], 0o7777),
            uid=_number(fields["uid"], 2**32 - 1),
            gid=_number(fields["gid"], 2**32 - 1),
            user=_text(fields["user"]),
            group=_text(fields["group"]),
            mtime=_number(fields["mtime"], 2**63, -(2**63)),
            seen=_text(fields["seen"]),
            content=_content(fields) if kind == "file" else None,
            target=_target(fields["target"]) if kind == "symlink" else b"",
            hard_link=_text(fields.get("hard_link", "")),
            kind=_text(fields.get("kind", "")),
            xattrs={
                paths.decode(name): base64.b64decode(value, validate=True)
                for name, value in fields.get("xattrs", {}).items()
            },
            evidence=_content(fields["evidence"]) if "evidence" in fields else None,
            unsettled=bool(fields.get("unsettled", False)),
            damaged=_text(fields.get("damaged", "")),
        )
    except DamagedError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise DamagedError(f"A malformed entry: {error!r}: {text[:200]!r}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _target(value: Any) -> bytes:
    target = paths.decode(_text(value))
    if not target or b"\0" in target:
        raise ValueError("a link that points nowhere")
    return target


def _number(value: Any, high: int, low: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{value!r} is not a number from {low} to {high}")
    return value


def _content(fields: Mapping[str, Any]) -> Content:
    md5 = fields["md5"]
    if not is_digest(fields["sha256"]) or not (isinstance(md5, str) and len(md5) == 32):
        raise ValueError("no digest where one belongs")
    parts = []
    for part in fields["blocks"]:
        parts.append(part if is_digest(part) else _number(part, MAX_SIZE, 1))
    return Content(_number(fields["size"], MAX_SIZE), fields["sha256"], md5, tuple(parts))


class Order:
    """What the entries so far allow the next one to be. Refuses what cannot come from a walk: wrong order, a
    name twice, something beneath what is not a directory, something outside the declared sources.

    ``state`` is all that the next answers depend on.
    """

    def __init__(self, sources: Sequence[bytes]) -> None:
        self._sources = frozenset(sources)
        self._last = b""
        self._folders: tuple[bytes, ...] = ()

    @property
    def state(self) -> tuple[bytes, tuple[bytes, ...]]:
        return self._last, self._folders

    @state.setter
    def state(self, state: tuple[bytes, tuple[bytes, ...]]) -> None:
        self._last, self._folders = state

    def skip_to(self, path: bytes) -> None:
        """Go on at ``path``; what stands before it is taken as right without having been seen."""
        folders: list[bytes] = []
        while path not in self._sources:
            if path in (b"", b"/"):
                folders = []
                break
            path = os_parent(path)
            folders.append(path)
        self._folders = tuple(reversed(folders))

    def check(self, entry: Entry) -> None:
        """Raises DamagedError."""
        path, folders = entry.path, self._folders
        key = paths.order(path)
        if key <= self._last:
            raise DamagedError("The entries are not in order, or a name occurs twice", where=paths.encode(path))
        self._last = key
        parent = os_parent(path)
        if not folders or folders[-1] != parent:
            while folders and not paths.inside(path, folders[-1]):
                folders = folders[:-1]
            if path not in self._sources and not folders:
                raise DamagedError(
                    "An entry lies outside the sources of its snapshot, or beneath what is not a directory",
                    where=paths.encode(path),
                )
            if folders and parent != folders[-1]:
                raise DamagedError("An entry lies beneath what is not a directory", where=paths.encode(path))
        self._folders = (*folders, path) if entry.type == "directory" else folders


def checked(lines: Iterable[bytes], sources: Sequence[bytes]) -> Iterator[Entry]:
    """Parse lines, and refuse what cannot come from a walk."""
    order = Order(sources)
    for text in lines:
        entry = parse(text)
        order.check(entry)
        yield entry


def os_parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0] or b"/"
