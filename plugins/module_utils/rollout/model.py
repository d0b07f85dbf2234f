# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data that a rollout is made of: releases, plans, and what they say of each agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from ..effects import Probe, Unit

STATES = ("staged", "armed", "activated", "verified", "confirmed")
"""The states of a rollout on one host, in their order. ``rolled_back`` ends a rollout from any of
them, ``quarantined`` marks a release."""


@dataclass(frozen=True)
class ReleasedAgent:
    """What a host must know to run one agent of a release without asking anybody.

    ``fingerprint`` is SHA-256 over everything whose change means that the running agent must be
    replaced: its script, the local modules that it imports, its config entry, its environment.
    ``layer`` counts from 0, dependencies first.
    """

    name: str
    script_path: str
    fingerprint: str
    unit: Unit
    probe: Probe
    layer: int = 0
    dependencies: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Release:
    """``release.json``: a host's code, config and units, complete, with the digest of every file.

    ``files`` maps a path relative to the release to ``{"sha256", "size", "mode"}``; ``digest`` is
    SHA-256 over the canonical JSON of everything else.
    """

    id: str
    host: str
    digest: str
    agents: Mapping[str, ReleasedAgent]
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wave:
    """Agents changed together. ``agents`` maps a host to its agents in start order; ``parallel``
    maps a host to how many of them may be away at once; ``blast_radius`` counts the agents that
    depend, directly or not, on an agent of this wave."""

    number: int
    agents: Mapping[str, tuple[str, ...]]
    parallel: Mapping[str, int]
    blast_radius: int = 0


@dataclass(frozen=True)
class Touched:
    """Why an agent is part of a plan. ``reason`` is ``new changed follows removed down`` (``down``:
    unchanged, but its process does not run); ``brief_interruption`` is True where the agent cannot
    take over its socket."""

    host: str
    agent: str
    reason: str
    brief_interruption: bool
    detail: str = ""


@dataclass(frozen=True)
class Plan:
    """What a rollout would do: pure data with a hash.

    ``request_hash`` covers what was asked for (release, per-host digests, options); ``plan_hash``
    covers the whole plan. A controller that died is resumed by asking for the same request.
    ``previous`` maps a host to the release that it leaves, None on a host without one; ``releases``
    maps a host to the release that it goes to (``release`` is their common name). ``shares`` maps a
    host to how many of its agents a rollback may have away at once.
    """

    release: str
    request_hash: str
    plan_hash: str
    previous: Mapping[str, Optional[str]]
    touched: tuple[Touched, ...]
    waves: tuple[Wave, ...]
    releases: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[str, int] = field(default_factory=dict)
    cycles: tuple[tuple[str, ...], ...] = ()
    max_unavailable: int = 1
    bake_seconds: float = 0.0
    deadman_seconds: float = 180.0
