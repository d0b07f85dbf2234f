# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as JSON (what ledgers keep and modules pass on) and as text (what people read)."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Mapping

from ..errors import ContinuityError
from .model import Plan, Touched, Wave

FORMAT = 1


def to_document(plan: Plan) -> dict[str, Any]:
    """Plain values only; ``from_document`` gives the same plan back."""
    document: dict[str, Any] = json.loads(json.dumps(asdict(plan)))
    document["format"] = FORMAT
    return document


def from_document(document: Mapping[str, Any]) -> Plan:
    """Raises ContinuityError for a document of another format or with a key missing."""
    form = document.get("format") if isinstance(document, dict) else None
    if form != FORMAT:
        raise ContinuityError(
            f"this plan has format {form!r}, expected {FORMAT}",
            fix="Finish the rollout with the version of the collection that planned it",
        )
    try:
        return Plan(
            release=document["release"],
            request_hash=document["request_hash"],
            plan_hash=document["plan_hash"],
            previous=dict(document["previous"]),
            touched=tuple(Touched(**touched) for touched in document["touched"]),
            waves=tuple(
                Wave(
                    number=wave["number"],
                    agents={host: tuple(names) for host, names in wave["agents"].items()},
                    parallel=dict(wave["parallel"]),
                    blast_radius=wave["blast_radius"],
                )
                for wave in document["waves"]
            ),
            releases=dict(document["releases"]),
            shares=dict(document["shares"]),
            cycles=tuple(tuple(cycle) for cycle in document["cycles"]),
            max_unavailable=document["max_unavailable"],
            bake_seconds=document["bake_seconds"],
            deadman_seconds=document["deadman_seconds"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ContinuityError(f"this plan is not complete: {error}") from error


def render(plan: Plan) -> str:
    """The plan as a page of text: releases, waves, agents with their reasons."""
    lines = [f"release {plan.release}, plan {plan.plan_hash[:12]}"]
    for host in sorted(plan.releases):
        lines.append(f"  {host}: {plan.previous.get(host) or 'nothing'} -> {plan.releases[host]}")
    briefly = sum(touched.brief_interruption and touched.reason != "new" for touched in plan.touched)
    lines.append(
        f"{size(plan)}, at most {plan.max_unavailable} away at once, "
        f"{briefly} with a brief interruption, {plan.bake_seconds:g} s bake time a wave, "
        f"dead man {plan.deadman_seconds:g} s"
    )
    for cycle in plan.cycles:
        lines.append(f"cycle: {' '.join(cycle)}")
    reasons = {(touched.host, touched.agent): touched for touched in plan.touched}
    for wave in plan.waves:
        count = sum(len(names) for names in wave.agents.values())
        parallel = ", ".join(f"{host} {number} at once" for host, number in sorted(wave.parallel.items()))
        lines.append(f"wave {wave.number}: {_counted(count, 'agent')} ({parallel}), blast radius {wave.blast_radius}")
        for host, names in wave.agents.items():
            for name in names:
                lines.append(f"  {_line(reasons[(host, name)])}")
    return "\n".join(lines) + "\n"


def size(plan: Plan) -> str:
    """``77 agents in 4 waves``."""
    return f"{_counted(len(plan.touched), 'agent')} in {_counted(len(plan.waves), 'wave')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _line(touched: Touched) -> str:
    interrupted = touched.brief_interruption and touched.reason not in ("new", "removed")
    detail = f", {touched.detail}" if touched.detail else ""
    return f"{touched.host}:{touched.agent}  {touched.reason}{detail}{', brief interruption' if interrupted else ''}"
