# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upkeep of a repository: what the modules and the command line have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from .effects import Clock
from .errors import ContinuityError
from .journal.chain import Chain
from .repository import forgetting, pruning
from .repository.forgetting import Forgetting
from .repository.layout import Repository, refusals
from .repository.pruning import Progress, Pruned
from .repository.retention import ALLOWED, PERIODS, Policy, Retention

KEEP = ("last", *PERIODS)
RULES = frozenset(f"keep_{name}" for name in (*KEEP, "within", "tags"))


@dataclass(frozen=True)
class Dropping:
    """What somebody wants to be forgotten: by ``retention``, or exactly ``names``. ``root`` is the host root
    whose ledger says on which restore point a rollout relies."""

    retention: Retention
    names: tuple[str, ...] = ()
    host: Optional[str] = None
    root: Optional[str] = None
    wait: float = 60.0


@dataclass
class Forgotten:
    """What was forgotten and what prune reclaimed, or would."""

    forgetting: Forgetting = field(default_factory=Forgetting)
    pruned: Optional[Pruned] = None

    @property
    def changed(self) -> bool:
        return bool(self.forgetting.dropped) or (self.pruned is not None and self.pruned.changed)


def retention_from(options: Mapping[str, Any]) -> Retention:
    """Rules from options named like those of the module: ``keep_…``, ``schedules``, ``allow``."""
    unknown = set(options.get("allow") or ()) - set(ALLOWED)
    if unknown:
        raise ContinuityError(f"{sorted(unknown)[0]!r} cannot be allowed", fix=f"Say one of {', '.join(ALLOWED)}")
    schedules = {}
    for tag, rules in (options.get("schedules") or {}).items():
        wrong = set(rules) - RULES if isinstance(rules, dict) else {str(rules)}
        if wrong:
            raise ContinuityError(
                f"{sorted(wrong)[0]!r} is no rule",
                where=f"schedules: {tag}",
                fix=f"Rules are {', '.join(sorted(RULES))}",
            )
        schedules[tag] = _policy(rules)
    return Retention(_policy(options), schedules, frozenset(options.get("allow") or ()))


def _policy(options: Mapping[str, Any]) -> Policy:
    try:
        counts = {name: int(options.get(f"keep_{name}") or 0) for name in KEEP}
    except (TypeError, ValueError) as error:
        raise ContinuityError(f"A rule is not a number: {error}", fix="Give a number, or -1 for all") from error
    return Policy(**counts, within=options.get("keep_within") or "", tags=tuple(options.get("keep_tags") or ()))


def rollouts(root: Optional[str]) -> frozenset[str]:
    """The restore point that the ledger in a host root names for the unfinished, or else the latest rollout."""
    if root is None:
        return frozenset()
    entries = Chain(os.path.join(root, "ledger", "ledger.jsonl")).entries()
    points = [entry["restore_point"] for entry in entries if entry["event"] == "staged" and entry.get("restore_point")]
    return frozenset(points[-1:])


def forget(
    repository_path: str,
    wanted: Dropping,
    clock: Clock,
    *,
    prune: bool = False,
    max_unused: float = 5.0,
    check: bool = False,
    progress: Optional[Progress] = None,
) -> Forgotten:
    """Forget, and reclaim the space if it is wanted. With ``prune`` there need not be a rule: then nothing is
    forgotten. ``check`` says what would be done, and writes nothing."""
    repository = Repository.open(repository_path)
    result = Forgotten()
    with refusals("Cannot forget", repository_path, "Run as the owner of the repository"):
        if wanted.names or wanted.retention or not prune:
            result.forgetting = forgetting.plan(
                repository,
                wanted.retention,
                clock.now(),
                names=wanted.names,
                host=wanted.host,
                rollouts=rollouts(wanted.root),
            )
            if not check:
                forgetting.apply(repository, result.forgetting, clock, wanted.wait, wanted.retention.allow)
        if prune:
            result.pruned = pruning.prune(
                repository,
                clock,
                max_unused=max_unused,
                wait=wanted.wait,
                check=check,
                without=frozenset(one.digest for one in result.forgetting.dropped),
                progress=progress,
            )
    return result


def prune(
    repository_path: str,
    clock: Clock,
    *,
    max_unused: float = 5.0,
    wait: float = 60.0,
    check: bool = False,
    progress: Optional[Progress] = None,
) -> Pruned:
    """Reclaim the space of what no snapshot needs."""
    repository = Repository.open(repository_path)
    with refusals("Cannot prune", repository_path, "Run as the owner of the repository"):
        return pruning.prune(repository, clock, max_unused=max_unused, wait=wait, check=check, progress=progress)
