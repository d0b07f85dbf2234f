# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree in, findings out: where credentials are written down, and never one of them."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Iterable, Optional, Sequence

from .python_literals import find_in_program
from .scan_findings import Finding, findings
from .scan_hits import Hit, merged
from .scanned_files import PYTHON, ScannedFile, Unread, described, files, read
from .telling_lines import telling_lines
from .text_lines import JSON, PROGRAM, YAML, find
from .yaml_values import find_together

_BATCH = 384 * 1024
"""Bytes that one process reads before it reports."""

_WORTH_PROCESSES = 1024 * 1024
"""Bytes from which a second process pays for its start."""


@dataclass(frozen=True)
class Scan:
    """``files`` and ``bytes`` is how much was looked at; ``unread`` what could not be."""

    findings: tuple[Finding, ...]
    unread: tuple[Unread, ...]
    files: int
    bytes: int


def scan(root: str, *, processes: Optional[int] = None) -> Scan:
    """Every file below ``root``. Raises ContinuityError when that is no folder."""
    unread: list[Unread] = []
    listed = list(files(root, unread))
    size = sum(each for _path, each in listed)
    wanted = processes if processes is not None else os.cpu_count() or 1
    batches = _batches(listed)
    found: list[Finding] = []
    if wanted > 1 and size >= _WORTH_PROCESSES:
        _in_processes(root, batches, wanted, found, unread)
    else:
        for batch in batches:
            _take(scan_files(root, batch), found, unread)
    return Scan(tuple(sorted(found)), tuple(sorted(unread, key=lambda one: one.file)), len(listed), size)


def scan_files(root: str, paths: Iterable[str]) -> tuple[list[Finding], list[Unread]]:
    """These files below the root, one after the other."""
    found: list[Finding] = []
    unread: list[Unread] = []
    for path in paths:
        text = read(root, path)
        if isinstance(text, Unread):
            unread.append(text)
        elif text:
            found += scan_text(path, text)
    return found, unread


def scan_text(path: str, text: str) -> list[Finding]:
    """The text of one file; ``path`` says how it is written and what it is for."""
    if path.endswith(".ipynb"):
        text = text.replace('\\"', "'")  # programs inside of texts of JSON
    numbers = telling_lines(text)
    if not numbers:
        return []
    lines = text.split("\n")
    file = described(path, lines[0][:200])
    return findings(file, merged(hits_of(file, text, lines, numbers)))


def hits_of(file: ScannedFile, text: str, lines: Sequence[str], numbers: Sequence[int]) -> list[Hit]:
    """Where credentials stand in ``text``, of which ``lines`` with these ``numbers`` are looked at."""
    if file.style == PYTHON:
        hits = find_in_program(text, lines, numbers)
        return hits if hits is not None else list(find(lines, numbers, PROGRAM))
    hits = list(find(lines, numbers, file.style))
    if file.style in (YAML, JSON):
        hits += find_together(lines, numbers, file.style == YAML)
    return hits


def _batches(listed: Sequence[tuple[str, int]]) -> list[list[str]]:
    batches: list[list[str]] = []
    room = 0
    for path, size in listed:
        if not batches or room < size:
            batches.append([])
            room = _BATCH
        batches[-1].append(path)
        room -= size
    return batches


def _in_processes(
    root: str, batches: Sequence[Sequence[str]], processes: int, found: list[Finding], unread: list[Unread]
) -> None:
    with ProcessPoolExecutor(min(processes, 16), mp_context=multiprocessing.get_context("fork")) as pool:
        waiting = [(batch, pool.submit(partial(scan_files, root), batch)) for batch in batches]
        for batch, result in waiting:
            try:
                _take(result.result(), found, unread)
            except BrokenProcessPool:
                unread += [Unread(path, "the process that read it died") for path in batch]


def _take(result: tuple[list[Finding], list[Unread]], found: list[Finding], unread: list[Unread]) -> None:
    found += result[0]
    unread += result[1]
