# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A startup config and everything that it includes, as documents in the order in which they apply."""

from __future__ import annotations

import os
import stat
from typing import Optional

from .model import Location
from .reading import Reading
from .yaml_document import MAX_BYTES, Fault, Node, parse, too_large

MAX_FILES = 64
"""Most files that one startup config may consist of; together they may hold MAX_BYTES."""


def read_documents(path: str, reading: Reading) -> list[Node]:
    """The top-level mappings of the file and of its includes, included ones first (so that a file can
    say otherwise than what it includes). What cannot be read is reported and left out."""
    files = _Files(reading)
    files.read(path, [], None)
    return files.documents


class _Files:
    """What has been read so far, and what may still be."""

    def __init__(self, reading: Reading) -> None:
        self.documents: list[Node] = []
        self._reading = reading
        self._seen: set[str] = set()
        self._bytes = 0
        self._full = False

    def read(self, path: str, ancestors: list[str], origin: Optional[Location]) -> None:
        """One file after what it includes; each file once. ``origin`` is where it is included."""
        real = os.path.realpath(path)
        if real in ancestors:
            chain = " -> ".join(os.path.basename(name) for name in [*ancestors, real])
            self._refuse(
                f"include goes round in a circle: {chain}", path, origin, expected="each file once", found=chain
            )
        elif real not in self._seen and self._room(path, origin):
            self._seen.add(real)
            content = self._content(path, origin)
            root = self._root(content, path) if content is not None else None
            if root is not None:
                for target in _includes(root, self._reading):
                    included = os.path.join(os.path.dirname(path), target.text)
                    self.read(included, [*ancestors, real], target.location)
                self.documents.append(root)

    def _refuse(self, message: str, path: str, origin: Optional[Location], *, expected: str, found: str) -> None:
        where, key = (origin, "include") if origin else (Location(path, 1), "")
        self._reading.report("G-parse", message, where, expected=expected, found=found, key=key)

    def _room(self, path: str, origin: Optional[Location]) -> bool:
        room = len(self._seen) < MAX_FILES and self._bytes <= MAX_BYTES
        if not room and not self._full:
            self._full = True
            limit = f"at most {MAX_FILES} files, {MAX_BYTES} bytes"
            message = f"too much is included: {path} and whatever follows was not read (limit {limit})"
            self._refuse(message, path, origin, expected=limit, found=f"{len(self._seen)} files, {self._bytes} bytes")
        return room

    def _content(self, path: str, origin: Optional[Location]) -> Optional[bytes]:
        """The bytes of a regular file that is not too large. Others (a pipe, a device) are not opened."""
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                self._refuse(f"{path} is not a regular file", path, origin, expected="a file", found="none")
                return None
            if status.st_size > MAX_BYTES:
                self._report(too_large(status.st_size), path)
                return None
            with open(path, "rb") as file:
                # one byte more than allowed, should it grow meanwhile
                content = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._refuse(f"{path} cannot be read: {reason}", path, origin, expected="a readable file", found=reason)
            return None
        self._bytes += len(content)
        return content

    def _root(self, content: bytes, path: str) -> Optional[Node]:
        document = parse(content, path)
        for fault in document.faults:
            self._report(fault, path)
        root = document.root
        if root is None or root.kind == "mapping":
            return root
        if root.kind != "scalar" or root.value is not None:
            stood = root.describe()
            message = f"a startup config is a mapping, here stands {stood}"
            self._reading.report("G-schema", message, root.location, expected="a mapping", found=stood)
        return None

    def _report(self, fault: Fault, path: str) -> None:
        self._reading.report(
            fault.rule,
            fault.message,
            Location(path, fault.line),
            expected=fault.expected,
            found=fault.found,
            key=fault.key,
        )


def _includes(root: Node, reading: Reading) -> list[Node]:
    node = root.get("include")
    if node is None:
        return []
    good = []
    for target in node.items if node.kind == "sequence" else [node]:
        if isinstance(target.value, str) and target.value:
            good.append(target)
        else:
            reading.report(
                "G-schema",
                f"include names files, here stands {target.describe()}",
                target.location,
                expected="a path or a list of paths",
                found=target.describe(),
                key="include",
            )
    return good
