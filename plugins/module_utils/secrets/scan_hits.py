# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reader of one file hands on: where something stands and what it is, never the value."""

from __future__ import annotations

from typing import Iterable, NamedTuple


class Hit(NamedTuple):
    """``line`` counts from 1; ``start`` and ``end`` are columns of that line, from 0. ``state`` is what
    ``literal_values`` says; ``fallback`` that the value counts only where nobody gives another one;
    ``by_form`` that it is known by its form, whatever stands around; ``prose`` that it explains a program."""

    line: int
    start: int
    end: int
    kind: str
    rule: str
    name: str
    state: str
    fallback: bool = False
    by_form: bool = False
    prose: bool = False


MOST_ON_A_LINE = 200
"""Hits of one line; a line with more is a file without line breaks."""


def merged(hits: Iterable[Hit]) -> list[Hit]:
    """Each place once: what is known by its form goes before what is known by its name, and takes over
    that it is a fallback; of two others the first stands."""
    lines: dict[int, list[Hit]] = {}
    for hit in sorted(set(hits), key=lambda one: (not one.by_form, one.state == "sample")):
        kept = lines.setdefault(hit.line, [])
        same = next((n for n, other in enumerate(kept) if hit.start < other.end and other.start < hit.end), None)
        if same is not None:
            kept[same] = kept[same]._replace(fallback=kept[same].fallback or hit.fallback)
        elif len(kept) < MOST_ON_A_LINE:
            kept.append(hit)
    return sorted(hit for kept in lines.values() for hit in kept)
