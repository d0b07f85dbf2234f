# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures as tables, and beside each ratio its goal."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

OURS = "continuity"
GOALS = {"first": 0.7, "no change": 0.25, "1 % change": 0.5, "verify": 0.5, "restore": 0.8, "one file": 0.25}
SIZE_GOALS = {"first": 1.03, "ten changes": 0.85}
MEMORY_GOAL = 200.0


@dataclass
class Cost:
    """One run: seconds, seconds of all its processes, the most memory (MB) that they held together."""

    wall: float
    cpu: float
    memory: float


Costs = Mapping[tuple[str, str], Sequence[Cost]]
Sizes = Mapping[tuple[str, str], int]


def median(costs: Costs, name: str, operation: str, what: str) -> Optional[float]:
    found = [getattr(cost, what) for cost in costs.get((name, operation), ())]
    return statistics.median(found) if found else None


def most_memory(costs: Costs, name: str) -> float:
    return max((cost.memory for (tool, _unused), listed in costs.items() if tool == name for cost in listed), default=0)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width) for place, (cell, width) in enumerate(zip(*line))
        )
        for line in ((row, widths) for row in rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def verdict(ratio: float, goal: float) -> str:
    return "met" if ratio <= goal else f"missed by {100 * (ratio / goal - 1):.0f} %"


def goals(costs: Costs, sizes: Sizes, peers: Sequence[str], strict: Sequence[str]) -> list[dict[str, object]]:
    """Our ratio to the best of ``peers`` (and of ``strict``, which has more of them) for every goal."""
    found: list[dict[str, object]] = []

    def add(goal: str, ours: Optional[float], theirs: Mapping[str, Optional[float]], limit: float) -> None:
        there = {name: value for name, value in theirs.items() if value}
        if ours is None or not there.keys() & set(peers):
            return
        best = min((value, name) for name, value in there.items() if name in peers)
        ratio = ours / best[0]
        found.append(
            {
                "goal": goal,
                "ours": round(ours, 3),
                "best": round(best[0], 3),
                "best_is": best[1],
                "ratio": round(ratio, 3),
                "limit": limit,
                "met": ratio <= limit,
                "verdict": verdict(ratio, limit),
                "ratio_to_any": round(ours / min(there.values()), 3),
            }
        )

    for operation, limit in GOALS.items():
        for what in ("wall", "cpu"):
            theirs = {name: median(costs, name, operation, what) for name in strict}
            add(f"{operation}, {what}", median(costs, OURS, operation, what), theirs, limit)
            if operation == "verify":
                # Nobody else has it; beside what they call a check of all data.
                add(f"verify files, {what}", median(costs, OURS, "verify files", what), theirs, limit)
    for moment, limit in SIZE_GOALS.items():
        theirs = {name: sizes[name, moment] / 1e6 for name in strict if (name, moment) in sizes}
        ours = sizes[OURS, moment] / 1e6 if (OURS, moment) in sizes else None
        add(f"repository, {moment}", ours, theirs, limit)
    memory = most_memory(costs, OURS)
    found.append(
        {
            "goal": "peak memory",
            "ours": round(memory, 1),
            "limit": MEMORY_GOAL,
            "met": memory <= MEMORY_GOAL,
            "verdict": verdict(memory, MEMORY_GOAL),
        }
    )
    return found


def costs_table(costs: Costs, names: Sequence[str], operations: Sequence[str]) -> str:
    rows = [["wall s / CPU s / MB", *names]]
    for operation in operations:
        row = [operation]
        for name in names:
            listed = costs.get((name, operation))
            cells = [median(costs, name, operation, what) or 0.0 for what in ("wall", "cpu", "memory")]
            row.append("{:.2f} / {:.2f} / {:.0f}".format(*cells) if listed else "-")
        rows.append(row)
    return table(rows)


def sizes_table(sizes: Sizes, names: Sequence[str]) -> str:
    rows = [["repository, MB", *names]]
    for moment in dict.fromkeys(moment for _unused, moment in sizes):
        rows.append(
            [moment, *(f"{sizes[name, moment] / 1e6:.1f}" if (name, moment) in sizes else "-" for name in names)]
        )
    return table(rows)


def goals_table(found: Sequence[Mapping[str, object]]) -> str:
    rows = [["goal", "ours", "best of restic, borg zstd", "ratio", "at most", "", "ratio, borg lz4 included"]]
    for one in found:
        best = f"{one['best']} ({one['best_is']})" if "best" in one else ""
        shown = [one.get("ratio", ""), one["limit"], one["verdict"], one.get("ratio_to_any", "")]
        rows.append([str(one["goal"]), str(one["ours"]), best, *map(str, shown)])
    return table(rows)


def growth_table(costs: Mapping[float, Costs], operations: Sequence[str], name: str = OURS) -> str:
    """Cost at each scale, and in brackets cost per file relative to the smallest scale: 1.00 is linear."""
    scales = sorted(costs)
    rows = [[f"{name}: wall s / CPU s / MB", *(f"{scale:g}x" for scale in scales)]]
    for operation in operations:
        row = [operation]
        for scale in scales:
            cells = [median(costs[scale], name, operation, what) or 0.0 for what in ("wall", "cpu", "memory")]
            begun = median(costs[scales[0]], name, operation, "cpu") or 0.0
            growth = cells[1] / begun / (scale / scales[0]) if begun else 0.0
            row.append(f"{cells[0]:.2f} / {cells[1]:.2f} ({growth:.2f}) / {cells[2]:.0f}")
        rows.append(row)
    return table(rows)
