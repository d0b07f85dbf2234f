# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a wave may stay: pass, fail or inconclusive, decided from numbers alone (pure).

Every agent of the host is watched. Agents that this rollout changed are held to all rules; the
others only must not have become unhealthy, so that a change that breaks its neighbours is seen.
What was not measured never passes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Collection, Mapping, Optional, Sequence

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"


@dataclass(frozen=True)
class Baseline:
    """One agent before the rollout. ``status`` is its health then (``absent`` when it did not run),
    ``errors_per_minute`` its own counter over the life of its process, ``log_error_share`` the share
    of error lines at the end of its log; None where it could not be measured."""

    status: str
    errors_per_minute: Optional[float] = None
    log_error_share: Optional[float] = None


@dataclass(frozen=True)
class Sample:
    """One look at one agent. ``at`` is monotonic seconds; ``status`` its health, ``process`` its
    process state, ``restarts`` and ``errors`` its counters, ``log_lines`` and ``log_errors`` count
    what its log gained since the watch began."""

    at: float
    status: str
    process: str
    restarts: int = 0
    errors: Optional[int] = None
    log_lines: int = 0
    log_errors: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class GateRules:
    """The thresholds. Rates are per minute. An error rate fails above ``factor`` times its baseline
    plus the allowance; log errors fail above the allowance and above ``factor`` times the baseline's
    share of error lines."""

    min_samples: int = 3
    unhealthy_in_a_row: int = 2
    max_restarts: int = 0
    factor: float = 2.0
    errors_per_minute_allowed: float = 6.0
    log_errors_allowed: int = 3


@dataclass(frozen=True)
class Verdict:
    """``reasons`` are sentences that begin with the agent's name; ``numbers`` maps an agent to what was
    measured."""

    verdict: str
    reasons: tuple[str, ...] = ()
    numbers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def evaluate(
    samples: Mapping[str, Sequence[Sample]],
    baselines: Mapping[str, Baseline],
    changed: Collection[str],
    rules: GateRules,
) -> Verdict:
    """The verdict over all agents in ``samples``; ``changed`` are those that this rollout replaced."""
    failed: list[str] = []
    unknown: list[str] = []
    for agent in sorted(changed):
        taken = samples.get(agent, ())
        failed += _failures(agent, taken, baselines.get(agent), rules)
        unknown += _gaps(agent, taken, baselines.get(agent), rules)
    for agent in sorted(set(samples) - set(changed)):
        if agent in baselines and baselines[agent].status in ("healthy", "degraded"):
            if _longest_run(samples[agent], "unhealthy") >= rules.unhealthy_in_a_row:
                failed.append(f"{agent} was not changed, was {baselines[agent].status}, and is unhealthy now")
            elif not samples[agent] or samples[agent][-1].status in ("unknown", "unhealthy"):
                unknown.append(f"{agent} was not changed, was {baselines[agent].status}, and does not answer for sure")
    numbers = {agent: _numbers(taken) for agent, taken in samples.items() if agent in changed}
    if failed:
        return Verdict(FAIL, tuple(failed), numbers)
    return Verdict(INCONCLUSIVE if unknown else PASS, tuple(unknown), numbers)


def _failures(agent: str, taken: Sequence[Sample], before: Optional[Baseline], rules: GateRules) -> list[str]:
    found = []
    if _longest_run(taken, "unhealthy") >= rules.unhealthy_in_a_row:
        found.append(f"{agent} is unhealthy")
    down = [sample.process for sample in taken if sample.process not in ("running", "starting")]
    if len(down) >= rules.unhealthy_in_a_row:
        found.append(f"{agent} does not run ({down[-1]})")
    restarts = _gained([sample.restarts for sample in taken])
    if restarts > rules.max_restarts:
        found.append(f"{agent} was restarted {restarts} times")
    was_healthy = before is None or before.status in ("healthy", "absent")
    degraded = [sample for sample in taken if sample.status == "degraded"]
    if was_healthy and 2 * len(degraded) > len(taken) and len(degraded) >= rules.min_samples:
        found.append(f"{agent} is degraded, it was healthy before")
    rate = _error_rate(taken)
    usual = (before.errors_per_minute if before else None) or 0.0
    if rate is not None and rate > rules.factor * usual + rules.errors_per_minute_allowed:
        found.append(f"{agent} counts {rate:.1f} errors a minute, {usual:.1f} before")
    lines, errors = (taken[-1].log_lines, taken[-1].log_errors) if taken else (0, 0)
    share = errors / lines if lines else 0.0
    usual_share = (before.log_error_share if before else None) or 0.0
    if errors > rules.log_errors_allowed and share > rules.factor * usual_share:
        found.append(f"{agent} logged {errors} errors in {lines} lines, {usual_share:.1%} of its lines before")
    return found


def _gaps(agent: str, taken: Sequence[Sample], before: Optional[Baseline], rules: GateRules) -> list[str]:
    answered = [sample for sample in taken if sample.status != "unknown"]
    if len(answered) < rules.min_samples:
        return [f"{agent} answered {len(answered)} of {len(taken)} times, {rules.min_samples} are needed"]
    if taken[-1].status not in ("healthy", "degraded"):
        return [f"{agent} was {taken[-1].status} at the end"]
    if before is None:
        return [f"{agent} has no baseline"]
    if before.errors_per_minute is not None and _error_rate(taken) is None:
        return [f"{agent} no longer tells its error count"]
    return []


def _longest_run(taken: Sequence[Sample], status: str) -> int:
    longest = current = 0
    for sample in taken:
        current = current + 1 if sample.status == status else 0
        longest = max(longest, current)
    return longest


def _gained(counts: Sequence[int]) -> int:
    """By how much a counter rose; one that fell was reset and counts from there."""
    return sum(max(0, after - before) for before, after in zip(counts, counts[1:]))


def _error_rate(taken: Sequence[Sample]) -> Optional[float]:
    told = [sample for sample in taken if sample.errors is not None]
    if len(told) < 2 or told[-1].at <= told[0].at:
        return None
    gained = _gained([sample.errors or 0 for sample in told])
    return gained * 60.0 / (told[-1].at - told[0].at)


def _numbers(taken: Sequence[Sample]) -> dict[str, Any]:
    answered = [sample for sample in taken if sample.status != "unknown"]
    rate = _error_rate(taken)
    return {
        "samples": len(taken),
        "answered": len(answered),
        "unhealthy": sum(sample.status == "unhealthy" for sample in taken),
        "degraded": sum(sample.status == "degraded" for sample in taken),
        "restarts": _gained([sample.restarts for sample in taken]),
        "errors_per_minute": None if rate is None else round(rate, 3),
        "log_lines": taken[-1].log_lines if taken else 0,
        "log_errors": taken[-1].log_errors if taken else 0,
        "response_seconds": round(median(sample.seconds for sample in answered), 4) if answered else None,
    }


def to_plain(baselines: Mapping[str, Baseline]) -> dict[str, Any]:
    return {agent: asdict(baseline) for agent, baseline in baselines.items()}


def from_plain(document: Mapping[str, Mapping[str, Any]]) -> dict[str, Baseline]:
    return {agent: Baseline(**fields) for agent, fields in document.items()}
