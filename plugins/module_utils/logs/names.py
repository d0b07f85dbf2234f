# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files belong to a log: the one that is written, and those that were rotated away from it."""

from __future__ import annotations

import fnmatch
import os
import re
import secrets
from dataclasses import dataclass
from typing import Iterable, Iterator, Optional, Sequence

from .compression import SUFFIXES

_PACKED = "|".join(suffix[1:] for suffix in SUFFIXES)
_DATE = r"\d{4}-?\d{2}-?\d{2}(?:[T_.-]?\d{2}(?:[:-]?\d{2}(?:[:-]?\d{2})?)?)?|\d{10}"
_AFTER = re.compile(
    rf"(?P<base>.+?)(?:\.(?P<number>\d{{1,4}})|[._-](?:{_DATE})(?:\.\d+)?|\.continuity-[0-9a-f]{{12}})(?:\.({_PACKED}))?"
)
"""``x.log.1``, ``x.log-20260131``, ``x.log.2026-01-31.gz``."""
_BEFORE = re.compile(
    rf"(?P<stem>.+?)(?:\.(?P<number>\d{{1,4}})|[._-](?:{_DATE})(?:\.\d+)?)(?P<extension>\.[A-Za-z]+)(?:\.({_PACKED}))?"
)
"""``x-20260131.log``, ``x.1.log.gz``: logrotate's ``extension``."""
_ONLY_PACKED = re.compile(rf"(?P<base>.+)\.({_PACKED})")
_ASIDE = re.compile(r"\.continuity-[0-9a-f]{12}$")


@dataclass(frozen=True)
class Rotated:
    """A name taken apart: the name of the log that it was rotated from, and its number (0: it has none)."""

    log: str
    number: int
    inside: bool
    """The mark stands before the extension, so the name could be a log of its own."""


def set_aside(path: str) -> str:
    """A name for a file that is about to be removed; should that be interrupted, it is a rotated file.
    One that has such a name keeps it."""
    return path if _ASIDE.search(path) else f"{path}.continuity-{secrets.token_hex(6)}"


def rotated(name: str) -> Optional[Rotated]:
    """What a name says of its origin; None for a name without the mark of a rotation."""
    after = _AFTER.fullmatch(name)
    if after:
        return Rotated(rotated_base(after["base"]), int(after["number"] or 0), False)
    before = _BEFORE.fullmatch(name)
    if before and before["extension"] not in SUFFIXES:
        return Rotated(before["stem"] + before["extension"], int(before["number"] or 0), True)
    packed = _ONLY_PACKED.fullmatch(name)
    return Rotated(packed["base"], 0, False) if packed else None


def rotated_base(name: str) -> str:
    """A file that was set aside while it was a rotated one belongs to the same log as before."""
    inner = _AFTER.fullmatch(name)
    return rotated_base(inner["base"]) if inner else name


def members(names: Iterable[str], log: str) -> list[tuple[str, int]]:
    """The rotated files of a log among the names of its folder, each with its number."""
    listed = set(names)
    found = []
    for name in listed:
        mark = rotated(name)
        if name == log or mark is None or mark.log != log:
            continue
        suffix = os.path.splitext(name)[1]
        if suffix in SUFFIXES and name[: -len(suffix)] in listed - {log}:
            continue  # It is just being compressed: the plain one stands for it.
        found.append((name, mark.number))
    return found


def logs_of(paths: Iterable[str], known: Iterable[str]) -> set[str]:
    """The logs that files belong to. A rotated file belongs to its log even when that is gone; one like
    ``x-20260131.log`` only where ``x.log`` is there or was archived before (``known``)."""
    listed = set(paths)
    there = {*listed, *known}
    logs = set()
    for path in listed:
        folder, name = os.path.split(path)
        mark = rotated(name)
        origin = os.path.join(folder, mark.log) if mark else path
        logs.add(origin if mark is None or not mark.inside or origin in there else path)
    return logs


def logs_below(
    folder: str, patterns: Sequence[str], exclude: Sequence[str], known: Iterable[str], skip: Iterable[str] = ()
) -> Iterator[str]:
    """The logs in a folder and below it, chosen by name; ``skip`` are folders that are not entered."""
    before, skipped = set(known), set(skip)
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name for name in folders if not _matches(name, exclude) and os.path.join(place, name) not in skipped
        ]
        files = [os.path.join(place, name) for name in names]
        for log in logs_of([path for path in files if not os.path.islink(path)], before):
            name = os.path.basename(log)
            if _matches(name, patterns) and not _matches(name, exclude):
                yield log


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
