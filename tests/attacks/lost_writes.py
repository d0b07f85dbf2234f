# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk may hold after a power cut: recorded from a real program, by strace, and played again.

The rules are harder than those of most file systems. Until a file is synced, any of its writes may be
missing, whatever was written later. Until a folder is synced, any change of its names may be missing,
whatever was changed later; a rename may lose its old name, its new name, or both.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Sequence, Union

CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,lseek,fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,"
    "linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,ftruncate,truncate,fallocate,copy_file_range,sendfile,symlink,symlinkat"
)
_CALL = re.compile(r"(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+|\?)", re.DOTALL)
_OFFSET = re.compile(r", \[(\d+)\] => ")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True)
class Call:
    """One system call: descriptors as (number, path), texts in their order, and all of it as it was written."""

    name: str
    descriptors: tuple[tuple[str, str], ...]
    texts: tuple[bytes, ...]
    words: str
    result: int

    def path(self, number: int) -> str:
        """The ``number``-th path of the call, relative ones completed by their descriptor."""
        path = os.fsdecode(self.texts[number])
        folders = self.descriptors if self.name.endswith(("at", "at2")) else ()
        base = folders[min(number, len(folders) - 1)][1] if folders else "/"
        return os.path.normpath(os.path.join(base, path))


def record(argv: Sequence[str], folder: Path) -> list[Call]:
    """Run a program; everything that it and its threads told the disk, in order. It must end well."""
    folder.mkdir()
    ended = subprocess.run(
        [
            *("strace", "-ff", "-ttt", "-xx", "-y", "-s", "100000000", "-e", "signal=none", "-e", f"trace={CALLS}"),
            *("-o", str(folder / "trace"), *argv),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: list[tuple[float, Call]] = []
    for file in folder.iterdir():
        for line in file.read_text().splitlines():
            matched = _CALL.match(line)
            if matched is None:
                assert "+++ exited" in line or "= ?" in line, line
                continue
            when, name, words, result = matched.groups()
            found.append(
                (
                    float(when),
                    Call(
                        name,
                        tuple((number, _plain(path).decode()) for number, path in _DESCRIPTOR.findall(words)),
                        tuple(_plain(text) for text in _TEXT.findall(words)),
                        words,
                        int(result),
                    ),
                )
            )
    return [call for _unused, call in sorted(found, key=lambda pair: pair[0]) if call.result >= 0]


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class File:
    """Content, and what was written since the last sync: where and what, or None: cut off there."""

    durable: bytes = b""
    pending: list[tuple[int, Optional[bytes]]] = field(default_factory=list)

    def content(self, chance: Optional[random.Random] = None) -> bytes:
        """As it is; with ``chance`` as it may be after a power cut."""
        content = bytearray(self.durable)
        for start, data in self.pending:
            if chance is not None and chance.random() < 0.5:
                # Nothing of it, or its first part, or zeros in its stead.
                whole = data or b""
                data = chance.choice((b"", whole[: chance.randrange(len(whole) + 1)], bytes(len(whole))))
            if data is None:
                del content[start:]
            elif data:
                content.extend(bytes(max(0, start + len(data) - len(content))))
                content[start : start + len(data)] = data
        return bytes(content)

    def sync(self) -> None:
        self.durable, self.pending = self.content(), []


@dataclass
class Folder:
    """Names, and changes of names since the last sync."""

    durable: dict[str, Union[File, Folder]] = field(default_factory=dict)
    pending: list[tuple[str, Union[File, Folder, None]]] = field(default_factory=list)

    def names(self, chance: Optional[random.Random] = None) -> dict[str, Union[File, Folder]]:
        names = dict(self.durable)
        for name, node in self.pending:
            if chance is not None and chance.random() < 0.5:
                continue
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node
        return names

    def sync(self) -> None:
        self.durable, self.pending = self.names(), []


class Disk:
    """Everything below ``root`` as the calls leave it."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self.top = Folder()
        # By path, too: calls stand where they began, and one that waited may have got a number that another still used.
        self._places: dict[tuple[str, str], int] = {}

    def _find(self, path: str) -> Union[File, Folder]:
        node: Union[File, Folder] = self.top
        for name in os.path.relpath(path, self._root).split("/"):
            if name != ".":
                assert isinstance(node, Folder), path
                node = node.names()[name]
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        folder, name = os.path.split(path)
        found = self._find(folder)
        assert isinstance(found, Folder), path
        return found, name

    def _inside(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root + "/")

    def _set(self, path: str, node: Union[File, Folder, None]) -> None:
        if self._inside(path):
            folder, name = self._parent(path)
            folder.pending.append((name, node))

    def touched_by(self, call: Call) -> bool:
        """Whether the call has to do with this disk."""
        named = any(self._inside(os.fsdecode(text)) for text in call.texts if text.startswith(b"/"))
        return named or any(self._inside(path) for _unused, path in call.descriptors)

    def play(self, call: Call) -> None:
        kind = call.name.removesuffix("at2").removesuffix("at")
        if kind in ("rename", "link"):
            old, new = call.path(0), call.path(1)
            if self._inside(old) or self._inside(new):
                self._set(new, self._find(old))
                if kind == "rename":
                    self._set(old, None)
        elif kind in ("mkdir", "unlink", "rmdir"):
            self._set(call.path(0), Folder() if kind == "mkdir" else None)
        elif kind == "open" and self._inside(call.path(0)):
            self._open(call, call.path(0))
        elif kind in ("sync", "syncfs"):
            self._sync_all(self.top)
        elif call.descriptors and self._inside(call.descriptors[0][1]):
            self._descriptor(call, *call.descriptors[0])

    def _open(self, call: Call, path: str) -> None:
        if "O_CREAT" in call.words:
            folder, name = self._parent(path)
            if name not in folder.names():
                folder.pending.append((name, File()))
        node = self._find(path)
        if "O_TRUNC" in call.words:
            assert isinstance(node, File), path
            node.pending.append((0, None))
        size = len(node.content()) if isinstance(node, File) and "O_APPEND" in call.words else 0
        self._places[str(call.result), path] = size

    def _descriptor(self, call: Call, number: str, path: str) -> None:
        if call.name in ("fsync", "fdatasync"):
            self._find(path).sync()
        elif call.name == "lseek":
            self._places[number, path] = call.result
        elif call.name in ("write", "writev", "pwrite64", "pwritev"):
            node = self._find(path)
            assert isinstance(node, File)
            data = b"".join(call.texts)[: call.result]
            if call.name.startswith("p"):
                node.pending.append((int(call.words.rpartition(", ")[2]), data))
            else:
                node.pending.append((self._places[number, path], data))
                self._places[number, path] += len(data)
        elif call.name == "sendfile" and call.result == 0:
            pass
        elif call.name == "sendfile":
            node, source = self._find(path), self._find(call.descriptors[1][1])
            assert isinstance(node, File) and isinstance(source, File)
            begin = int(_OFFSET.search(call.words)[1])  # type: ignore[index]
            node.pending.append((self._places[number, path], source.content()[begin : begin + call.result]))
            self._places[number, path] += call.result
        elif call.name == "ftruncate":
            node = self._find(path)
            assert isinstance(node, File)
            node.pending.append((int(call.words.rpartition(", ")[2]), None))
        else:
            raise AssertionError(f"the model does not know {call.name} of {path}")

    def _sync_all(self, folder: Folder) -> None:
        folder.sync()
        for node in folder.durable.values():
            if isinstance(node, Folder):
                self._sync_all(node)
            else:
                node.sync()

    def leave(self, target: Path, chance: random.Random) -> None:
        """Make at ``target`` what a power cut now may leave."""
        self._leave(self.top, target, chance)

    def _leave(self, folder: Folder, target: Path, chance: random.Random) -> None:
        target.mkdir()
        for name, node in folder.names(chance).items():
            if isinstance(node, Folder):
                self._leave(node, target / name, chance)
            else:
                (target / name).write_bytes(node.content(chance))
