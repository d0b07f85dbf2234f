# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots a policy keeps, and why (pure: nothing is read, nothing is dropped here).

The order of a host's snapshots is that of their chain. Their times only say into which hour, day or
year they fall, and only where they can be believed: a clock that was wrong for a while must never make
a good snapshot drop. See docs/retention.md.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from typing import Callable, Iterable, Mapping, Optional, Sequence

from .faults import RepositoryError

ALL = -1
PERIODS: Mapping[str, Callable[[datetime], tuple[int, ...]]] = {
    "hourly": lambda time: (time.year, time.month, time.day, time.hour),
    "daily": lambda time: (time.year, time.month, time.day),
    "weekly": lambda time: tuple(time.isocalendar())[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: (time.year,),
}
ALLOWED = ("last", "rollout", "pinned")
"""What may be dropped although it is protected, when it is said."""
_LENGTH = re.compile(r"(?=.)(?:(\d+)y)?(?:(\d+)m)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?")
_FORMAT_BEGAN = datetime(2025, 1, 1, tzinfo=timezone.utc)
_HOURS = (366 * 24, 31 * 24, 7 * 24, 24, 1)


@dataclass(frozen=True)
class Policy:
    """The rules for one set of snapshots. Counts: 0 is no rule, -1 keeps all. ``within`` is a length
    of time like ``1y2m3w4d5h``. ``tags``: a snapshot with one of them is kept."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("last", *PERIODS):
            if getattr(self, name) < ALL:
                raise RepositoryError(
                    f"keep_{name} cannot be {getattr(self, name)}", fix="Give a number, or -1 for all"
                )
        if self.within:
            length(self.within)

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True)
class Retention:
    """Rules for all snapshots, and rules of their own for those with a schedule's tag. ``allow`` are
    members of ``ALLOWED``."""

    policy: Policy = Policy()
    schedules: Mapping[str, Policy] = field(default_factory=dict)
    allow: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.policy) or any(self.schedules.values())


@dataclass(frozen=True)
class Candidate:
    """One snapshot that could be dropped. ``time`` is as in its manifest, whatever that says."""

    digest: str
    host: str
    sequence: int
    time: str
    tags: tuple[str, ...] = ()
    restore_point: Optional[str] = None


@dataclass
class Verdict:
    """Kept when there is a reason to."""

    snapshot: Candidate
    reasons: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        return bool(self.reasons)


@dataclass(frozen=True)
class Surroundings:
    """What protects snapshots beside the rules. ``past`` are (sequence, time) of those that were dropped
    before, by host; ``rollouts`` are the restore points that a ledger relies on."""

    now: float
    past: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)
    pinned: frozenset[str] = frozenset()
    rollouts: frozenset[str] = frozenset()


def length(text: str) -> timedelta:
    """The length of time behind ``1y2m3w4d5h``; a month counts 31 days, a year 366."""
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise RepositoryError(f"{text!r} is not a length of time", fix="Write it like 30d, 12h or 1y6m")
    return timedelta(hours=sum(int(count or 0) * hours for count, hours in zip(found.groups(), _HOURS)))


def judge(snapshots: Iterable[Candidate], retention: Retention, around: Surroundings) -> list[Verdict]:
    """A verdict for every snapshot, hosts by name, each host's newest first."""
    if not retention:
        raise RepositoryError("There is no rule that would keep anything", fix="Give at least one keep_… rule")
    verdicts = [Verdict(one) for one in sorted(snapshots, key=lambda one: (one.host, -one.sequence))]
    for host in sorted({verdict.snapshot.host for verdict in verdicts}):
        own = [verdict for verdict in verdicts if verdict.snapshot.host == host]
        times = _believable([one.snapshot for one in own], around.past.get(host, ()), around.now)
        for tag, policy in retention.schedules.items():
            _apply([one for one in own if tag in one.snapshot.tags], policy, times, around.now, f"{tag}: ")
        others = [one for one in own if not set(one.snapshot.tags) & set(retention.schedules)]
        _apply(others, retention.policy, times, around.now, "")
    _protect(verdicts, retention.allow, around)
    return verdicts


def refusals_by_name(
    dropped: Sequence[Candidate], everything: Sequence[Candidate], allow: frozenset[str], around: Surroundings
) -> list[str]:
    """Why snapshots must not be dropped by name; empty when they may."""
    faults = []
    chosen = {one.digest for one in dropped}
    for one in dropped:
        if one.digest in around.pinned and "pinned" not in allow:
            faults.append(f"{one.digest[:12]} is pinned")
        if one.restore_point in around.rollouts and "rollout" not in allow:
            faults.append(f"{one.digest[:12]} belongs to {one.restore_point}, on which a rollout relies")
    if "last" not in allow:
        for host in sorted({one.host for one in dropped}):
            if all(one.digest in chosen for one in everything if one.host == host):
                faults.append(f"{host} would be left without a snapshot")
    return faults


def _apply(members: Sequence[Verdict], policy: Policy, times: Mapping[int, datetime], now: float, mark: str) -> None:
    """Add the reasons of one set of rules to its members, which come newest first."""
    if not policy:
        for member in members:
            member.reasons.append(f"{mark}no rule")
        return
    known = [member for member in members if member.snapshot.sequence in times]
    by_rule: dict[int, list[str]] = {member.snapshot.sequence: [] for member in known}
    for member in known if policy.last == ALL else known[: policy.last]:
        by_rule[member.snapshot.sequence].append("last snapshot")
    for name, period in PERIODS.items():
        _keep_newest_of_each(name, getattr(policy, name), period, known, times, by_rule)
    if policy.within and known:
        oldest = times[known[0].snapshot.sequence] - length(policy.within)
        for member in known:
            if times[member.snapshot.sequence] >= oldest:
                by_rule[member.snapshot.sequence].append(f"within {policy.within}")
    for member in members:
        found = by_rule.get(member.snapshot.sequence, [])
        found += [f"tag {tag}" for tag in policy.tags if tag in member.snapshot.tags]
        member.reasons += [mark + reason for reason in found]
    for position, member in enumerate(members):
        if member.snapshot.sequence not in times:
            _keep_doubtful(position, members, times, now, mark)


def _keep_newest_of_each(
    name: str,
    count: int,
    period: Callable[[datetime], tuple[int, ...]],
    known: Sequence[Verdict],
    times: Mapping[int, datetime],
    by_rule: Mapping[int, list[str]],
) -> None:
    before: Optional[tuple[int, ...]] = None
    for member in known:
        sequence = member.snapshot.sequence
        now = period(times[sequence])
        if count and now != before:
            by_rule[sequence].append(f"{name} snapshot")
            before, count = now, count - (count > 0)
        elif count and member is known[-1]:
            by_rule[sequence].append(f"oldest {name} snapshot")


def _keep_doubtful(
    position: int, members: Sequence[Verdict], times: Mapping[int, datetime], now: float, mark: str
) -> None:
    """A snapshot whose time says nothing stays as long as one of its neighbours in the chain."""
    doubtful = members[position]
    time = _parsed(doubtful.snapshot.time)
    if time is not None and time.timestamp() > now:
        doubtful.reasons.append(f"{mark}time in the future")
        return
    younger = [one for one in members[:position] if one.snapshot.sequence in times][-1:]
    older = [one for one in members[position + 1 :] if one.snapshot.sequence in times][:1]
    if not younger + older or any(one.kept for one in younger + older):
        doubtful.reasons.append(f"{mark}time does not fit its neighbours")


def _protect(verdicts: Sequence[Verdict], allow: frozenset[str], around: Surroundings) -> None:
    for verdict in verdicts:
        if verdict.snapshot.digest in around.pinned:
            verdict.reasons.append("pinned")
        if verdict.snapshot.restore_point in around.rollouts and "rollout" not in allow:
            verdict.reasons.append("a rollout relies on it")
    whole = {one.snapshot.restore_point: one.snapshot.host for one in verdicts if one.kept}
    for verdict in verdicts:
        if not verdict.kept and verdict.snapshot.restore_point is not None and verdict.snapshot.restore_point in whole:
            verdict.reasons.append(f"restore point kept for {whole[verdict.snapshot.restore_point]}")
    if "last" not in allow:
        newest = {one.snapshot.host: one for one in reversed(verdicts)}
        for host in newest.keys() - {one.snapshot.host for one in verdicts if one.kept}:
            newest[host].reasons.append("last of its host")


def _believable(present: Sequence[Candidate], past: Sequence[tuple[int, str]], now: float) -> dict[int, datetime]:
    """The times (by sequence) that fit the order of the chain and are neither in the future nor older than
    the format. When times contradict each other, those are believed that are part of every longest series
    that never goes back. Dropped snapshots are witnesses too, so that a verdict does not change with them."""
    said = {**dict(past), **{one.sequence: one.time for one in present}}
    line = []
    for sequence in sorted(said):
        time = _parsed(said[sequence])
        if time is not None and time >= _FORMAT_BEGAN and time.timestamp() <= now:
            line.append((sequence, time))
    seconds = [time.timestamp() for _sequence, time in line]
    before = _longest_up_to_each(seconds)
    after = _longest_up_to_each([-one for one in reversed(seconds)])[::-1]
    longest = max(before, default=0)
    alone = Counter(one for one, other in zip(before, after) if one + other - 1 == longest)
    return {
        sequence: time
        for (sequence, time), one, other in zip(line, before, after)
        if one + other - 1 == longest and alone[one] == 1
    }


def _longest_up_to_each(values: Sequence[float]) -> list[int]:
    """For each value the length of the longest series that never goes back and ends with it."""
    ends: list[float] = []
    lengths = []
    for value in values:
        place = bisect_right(ends, value)
        ends[place : place + 1] = [value]
        lengths.append(place + 1)
    return lengths


def _parsed(text: str) -> Optional[datetime]:
    """None for what is no time at all: a manifest may say anything."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
