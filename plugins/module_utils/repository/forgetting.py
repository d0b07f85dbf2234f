# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forget: drop snapshots by policy or by name. Their data stays until prune."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Optional, Sequence

from ..effects import Clock
from . import forgotten, manifests, pins
from .faults import DamagedError, RepositoryError
from .forgotten import Forgotten
from .layout import Repository, storing, sync_folder, timestamp
from .locks import writing
from .retention import Candidate, Retention, Surroundings, Verdict, judge, refusals_by_name


@dataclass
class Forgetting:
    """What is kept and why, what is dropped. ``unreadable`` are manifests of which nothing can be said:
    no rule drops them."""

    verdicts: list[Verdict] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def dropped(self) -> list[Candidate]:
        return [verdict.snapshot for verdict in self.verdicts if not verdict.kept]

    def fields(self) -> dict[str, Any]:
        described = [
            {
                "id": one.snapshot.digest[: manifests.ID_LENGTH],
                "digest": one.snapshot.digest,
                "host": one.snapshot.host,
                "sequence": one.snapshot.sequence,
                "time": one.snapshot.time,
                "tags": list(one.snapshot.tags),
                "restore_point": one.snapshot.restore_point,
                "reasons": list(one.reasons),
            }
            for one in self.verdicts
        ]
        return {
            "kept": [one for one in described if one["reasons"]],
            "dropped": [one for one in described if not one["reasons"]],
            "unreadable": self.unreadable,
        }

    def render(self) -> str:
        """One line a snapshot: ``keep`` or ``drop``, id, time, host, reasons."""
        return "".join(
            f"{'keep' if one.kept else 'drop'}  {one.snapshot.digest[: manifests.ID_LENGTH]}  "
            f"{one.snapshot.time[:19] or '-' * 19}Z  {one.snapshot.host}  {', '.join(one.reasons)}".rstrip()
            + "\n"
            for one in self.verdicts
        )


def plan(
    repository: Repository,
    retention: Retention,
    now: float,
    *,
    names: Sequence[str] = (),
    host: Optional[str] = None,
    rollouts: Iterable[str] = (),
) -> Forgetting:
    """What forget would drop: by the rules, or, with ``names``, exactly these. Writes nothing.

    ``host``: drop snapshots of this host only. ``rollouts`` are restore points that a ledger relies on.
    """
    if repository.append_only:
        raise RepositoryError(
            "This repository is append-only: nothing may be forgotten",
            where=str(repository.root),
            fix="Where that is allowed, lift it with `continuity init --append-only no`",
        )
    readable, unreadable = manifests.readable(repository)
    everything = [_candidate(one) for one in readable]
    around = Surroundings(
        now=now,
        past={
            name: [(line.sequence, line.time) for line in forgotten.read(repository, name)]
            for name in sorted({one.host for one in readable})
        },
        pinned=pins.pinned(repository),
        rollouts=frozenset(rollouts),
    )
    result = Forgetting(unreadable=[str(fault) for fault in unreadable])
    if names:
        chosen = {one.digest: one for name in names for one in _named(repository, name, host)}
        known = {one.digest for one in everything}
        everything += [one for one in chosen.values() if one.digest not in known]
        refused = refusals_by_name(list(chosen.values()), everything, retention.allow, around)
        if refused:
            raise RepositoryError(
                f"These snapshots are protected: {'; '.join(refused)}",
                where=str(repository.root),
                fix="Say that you mean it with allow (last, rollout, pinned)",
            )
        result.verdicts = [
            Verdict(one, [] if one.digest in chosen else ["not named"])
            for one in sorted(everything, key=lambda one: (one.host, -one.sequence))
        ]
        result.reason = "by name"
        return result
    result.verdicts = judge(everything, retention, around)
    for verdict in result.verdicts:
        if host is not None and verdict.snapshot.host != host and not verdict.kept:
            verdict.reasons.append(f"not of {host}")
    result.reason = "by policy"
    return result


def apply(repository: Repository, planned: Forgetting, clock: Clock, wait: float, allow: frozenset[str]) -> None:
    """Drop what was planned. Killed at any moment, a snapshot is there completely or has its line."""
    for host in sorted({one.host for one in planned.dropped}):
        with writing(repository, host, clock, wait):
            repository.clear_staging(host)
            pinned = frozenset() if "pinned" in allow else pins.pinned(repository)
            there = {file.name[9:73]: file for file in manifests.files(repository, host)}
            # A pin that was set since the plan was made counts.
            now = [one for one in planned.dropped if one.host == host and one.digest in there]
            now = [one for one in now if one.digest not in pinned]
            if now and len(now) == len(there) and "last" not in allow:
                raise RepositoryError(
                    f"{host} would be left without a snapshot: somebody else has forgotten some meanwhile",
                    where=str(repository.root),
                    fix="Look at what is left, and run again",
                )
            _drop(repository, host, now, planned.reason, clock.now())


def lost(repository: Repository) -> dict[str, list[tuple[int, Optional[str]]]]:
    """(number, digest if it is known) of the snapshots that were taken away, by host. Raises DamagedError for a
    list of forgotten ones that cannot be read: nothing can be said before that is healed."""
    missing = {}
    for host in sorted({file.parent.name for file in manifests.files(repository)}):
        readable, damaged = manifests.readable(repository, host)
        if damaged:
            raise damaged[0]
        missing[host] = manifests.taken_away(readable, forgotten.read(repository, host))
    return {host: numbers for host, numbers in missing.items() if numbers}


def accept(repository: Repository, clock: Clock, wait: float) -> dict[str, list[tuple[int, Optional[str]]]]:
    """Note snapshots that were taken away as forgotten, so that the chain is whole again without them."""
    noted = {}
    for host in lost(repository):
        with writing(repository, host, clock, wait):
            # Again: one that was healed meanwhile is not lost.
            numbers = lost(repository).get(host, [])
            now = timestamp(clock.now())
            lines = [Forgotten(digest, number, None, "", forgotten.LOST, now) for number, digest in numbers]
            forgotten.note(repository, host, lines)
            noted[host] = numbers
    return noted


def _drop(repository: Repository, host: str, dropped: Sequence[Candidate], reason: str, now: float) -> None:
    files = {file.name[9:73]: file for file in manifests.files(repository, host)}
    noted = forgotten.read(repository, host)
    chain: dict[int, Optional[str]] = {line.sequence: line.digest for line in noted}
    chain.update((int(file.name[:8]), digest) for digest, file in files.items())
    lines = [
        Forgotten(one.digest, one.sequence, chain.get(one.sequence - 1), one.time, reason, timestamp(now))
        for one in sorted(dropped, key=lambda one: one.sequence)
        if one.digest not in {line.digest for line in noted}
    ]
    forgotten.note(repository, host, lines)
    with storing(repository.manifests / host):
        for one in dropped:
            files[one.digest].unlink()
        sync_folder(repository.manifests / host)
    for one in dropped:
        pins.remove(repository, one.digest)


def _candidate(manifest: manifests.Manifest) -> Candidate:
    return Candidate(
        digest=manifest.digest,
        host=manifest.host,
        sequence=manifest.sequence,
        time=manifest.time,
        tags=manifest.tags,
        restore_point=manifest.restore_point,
    )


def _named(repository: Repository, name: str, host: Optional[str]) -> list[Candidate]:
    """Every snapshot of this name: one by ``latest`` or the start of its id, all of a restore point. A
    damaged one can be dropped by its id alone."""
    if re.fullmatch(r"[0-9a-f]{4,64}", name):
        files = [file for file in manifests.files(repository, host) if file.name[9:].startswith(name)]
        if len(files) == 1:
            try:
                return [_candidate(manifests.load(files[0]))]
            except DamagedError:
                return [Candidate(files[0].name[9:73], files[0].parent.name, int(files[0].name[:8]), "")]
    elif name != "latest":
        found = [one for one in manifests.readable(repository, host)[0] if one.restore_point == name]
        if found:
            return [_candidate(one) for one in found]
    return [_candidate(manifests.find(repository, name, host))]
