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
"""Most files that one startup config may consist of."""


def read_documents(path: str, reading: Reading) -> list[Node]:
    """The top-level mappings of the file and of its includes, included ones first (so that a file can
    say otherwise than what it includes). What cannot be read is reported and left out."""
    documents: list[Node] = []
    _read(path, reading, documents, [], set(), None)
    return documents


def _read(
    path: str,
    reading: Reading,
    documents: list[Node],
    ancestors: list[str],
    seen: set[str],
    origin: Optional[Location],
) -> None:
    real = os.path.realpath(path)
    where = origin or Location(path, 1)
    if real in ancestors:
        chain = " -> ".join(os.path.basename(name) for name in [*ancestors, real])
        reading.report("G-parse", f"include goes round in a circle: {chain}", where, found=path, key="include")
        return
    if real in seen:
        return
    if len(seen) >= MAX_FILES:
        reading.report(
            "G-parse",
            f"more than {MAX_FILES} files are included; {path} and what follows was not read",
            where,
            expected=f"at most {MAX_FILES} files",
            found=path,
            key="include",
        )
        return
    seen.add(real)
    content = _content(path, reading, where, key="include" if origin else "")
    if content is None:
        return
    document = parse(content, path)
    for fault in document.faults:
        _report(fault, path, reading)
    root = document.root
    if root is None or root.kind != "mapping":
        if root is not None and not (root.kind == "scalar" and root.value is None):
            reading.report(
                "G-schema",
                f"a startup config is a mapping, here stands {root.describe()}",
                root.location,
                expected="a mapping",
                found=root.describe(),
            )
        return
    for target in _includes(root, reading):
        included = os.path.join(os.path.dirname(path), target.text)
        _read(included, reading, documents, [*ancestors, real], seen, target.location)
    documents.append(root)


def _content(path: str, reading: Reading, where: Location, *, key: str) -> Optional[bytes]:
    """The bytes of a regular file that is not too large. Others (a pipe, a device) are not opened."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            reading.report("G-parse", f"{path} is not a regular file", where, expected="a file", found=path, key=key)
            return None
        if status.st_size > MAX_BYTES:
            _report(too_large(status.st_size), path, reading)
            return None
        with open(path, "rb") as file:
            # one byte more than allowed, should it grow meanwhile
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"{path} cannot be read: {reason}"
        reading.report("G-parse", message, where, expected="a readable file", found=reason, key=key)
        return None


def _includes(root: Node, reading: Reading) -> list[Node]:
    node = root.get("include")
    if node is None:
        return []
    targets = node.items if node.kind == "sequence" else [node]
    good = [target for target in targets if isinstance(target.value, str) and target.value]
    for target in targets:
        if target not in good:
            reading.report(
                "G-schema",
                f"include names files, here stands {target.describe()}",
                target.location,
                expected="a path or a list of paths",
                found=target.describe(),
                key="include",
            )
    return good


def _report(fault: Fault, path: str, reading: Reading) -> None:
    reading.report(
        fault.rule,
        fault.message,
        Location(path, fault.line),
        expected=fault.expected,
        found=fault.found,
        key=fault.key,
    )
