# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The durable state of rollouts on one host: what happened here, and what follows from it.

Nothing but these entries says which release is current, which one was before it, and whether a
rollout is unfinished: no link, no modification time, no variable of a controller.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Mapping, Optional, Sequence

from ..effects import Clock
from ..errors import ContinuityError
from ..journal.chain import Chain, Entry, canonical
from ..journal.durable import make_directory, write_file
from .model import STATES, Plan
from .plan_document import from_document, to_document


class LedgerError(ContinuityError):
    """An event that does not fit what the ledger says so far, or a plan that it does not hold."""


@dataclass(frozen=True)
class UnfinishedRun:
    """A rollout that was staged and neither confirmed nor rolled back.

    ``stage`` is the furthest of ``model.STATES`` that it is in now; ``activated_agents`` are in the
    order of their activation; ``deadline`` is in the seconds of ``Clock.monotonic`` of the boot named
    by ``boot_id``, None before the dead man was armed; ``waves_verified`` lists passed waves only, also
    those in which nothing had to be activated here; ``restore_point`` is the one taken before it began.
    """

    run: str
    plan_hash: str
    request_hash: str
    release: str
    previous: Optional[str]
    stage: str = "staged"
    waves_activated: tuple[int, ...] = ()
    waves_verified: tuple[int, ...] = ()
    activated_agents: tuple[str, ...] = ()
    deadline: Optional[float] = None
    boot_id: str = ""
    deadman_seconds: float = 0.0
    restore_point: Optional[str] = None


@dataclass(frozen=True)
class LedgerState:
    """What the entries amount to. ``history`` are the releases that were current, oldest first,
    the current one last; going back takes the end off, so ``previous`` is never a release that was
    left by a rollback or is quarantined."""

    current: Optional[str] = None
    previous: Optional[str] = None
    quarantined: frozenset[str] = frozenset()
    unfinished: Optional[UnfinishedRun] = None
    history: tuple[str, ...] = ()


def compute_state(entries: Sequence[Mapping[str, Any]]) -> LedgerState:
    """The state that these entries amount to (pure)."""
    history: list[str] = []
    quarantined: set[str] = set()
    unfinished: Optional[UnfinishedRun] = None
    for entry in entries:
        event = entry["event"]
        if event == "confirmed":
            quarantined.discard(entry["release"])
            _push(history, entry["release"])
            unfinished = None
        elif event == "rolled_back" and entry["ok"]:
            _return_to(history, entry["to"])
            unfinished = None
        elif event == "quarantined":
            quarantined.add(entry["release"])
        elif event == "removed":
            history = [release for release in history if release != entry["release"]]
        else:
            unfinished = _advanced(unfinished, event, entry)
    current = history[-1] if history else None
    good = [release for release in history[:-1] if release not in quarantined and release != current]
    return LedgerState(current, good[-1] if good else None, frozenset(quarantined), unfinished, tuple(history))


def _push(history: list[str], release: str) -> None:
    if not history or history[-1] != release:
        history.append(release)


def _return_to(history: list[str], release: Optional[str]) -> None:
    """Take everything after ``release`` off; a release that was never current is put on top."""
    if release is None:
        history.clear()
    elif release in history:
        while history[-1] != release:
            history.pop()
    else:
        history.append(release)


def _advanced(unfinished: Optional[UnfinishedRun], event: str, entry: Mapping[str, Any]) -> Optional[UnfinishedRun]:
    """The unfinished run after an event of its own; events of anything else change nothing."""
    if event == "staged":
        same = unfinished is not None and unfinished.plan_hash == entry["plan"]
        if unfinished is not None and same:
            return replace(unfinished, run=entry["run"])
        return UnfinishedRun(
            entry["run"],
            entry["plan"],
            entry["request"],
            entry["release"],
            entry["previous_release"],
            restore_point=entry.get("restore_point"),
        )
    if unfinished is None:
        return None
    if event == "resumed":
        return replace(unfinished, run=entry["run"])
    if event == "armed":
        return replace(
            unfinished,
            stage=max(unfinished.stage, "armed", key=STATES.index),
            deadline=entry["deadline"],
            boot_id=entry["boot_id"],
            deadman_seconds=entry["seconds"],
        )
    if event == "activated":
        agents = dict.fromkeys((*unfinished.activated_agents, *entry["agents"]))
        waves = dict.fromkeys((*unfinished.waves_activated, entry["wave"]))
        return replace(unfinished, stage="activated", activated_agents=tuple(agents), waves_activated=tuple(waves))
    if event == "verified" and entry["verdict"] == "pass":
        waves = dict.fromkeys((*unfinished.waves_verified, entry["wave"]))
        stage = "verified" if entry["wave"] in unfinished.waves_activated else unfinished.stage
        return replace(unfinished, stage=stage, waves_verified=tuple(waves))
    return unfinished


FIELDS: Mapping[str, tuple[str, ...]] = {
    "staged": ("run", "plan", "request", "release", "previous_release", "digest"),
    "armed": ("run", "deadline", "boot_id", "seconds"),
    "activated": ("run", "wave", "agents"),
    "replaced": ("run", "wave", "agents", "seconds"),
    "verified": ("run", "wave", "verdict", "numbers"),
    "confirmed": ("run", "release", "seconds"),
    "rolled_back": ("run", "from_release", "to", "agents", "seconds", "reason", "ok"),
    "quarantined": ("release", "reason"),
    "resumed": ("run",),
    "removed": ("release",),
    "lease_taken": ("run", "owner", "expires"),
    "lease_released": ("run", "owner"),
    "lease_taken_over": ("run", "owner", "expires", "from_owner", "from_run", "reason"),
}
"""Every event with the fields that it must have; more may be given."""


def refusal(state: LedgerState, event: str, fields: Mapping[str, Any]) -> Optional[str]:
    """Why this event cannot follow, as a sentence; None when it can (pure).

    So a controller that was replaced, or that comes back after the dead man, cannot go on.
    """
    if event not in FIELDS:
        return f"there is no event {event}"
    missing = [name for name in FIELDS[event] if name not in fields]
    if missing:
        return f"{event} needs {', '.join(missing)}"
    run = state.unfinished
    if event == "staged":
        if run is not None and run.stage != "staged" and run.plan_hash != fields["plan"]:
            return f"the rollout of {run.release} (run {run.run}, {run.stage}) is unfinished here"
        return None
    if event not in ("armed", "activated", "verified", "confirmed", "resumed"):
        return None
    if run is None:
        return f"{event}: no rollout is unfinished here"
    if event != "resumed" and run.run != fields["run"]:
        return f"{event}: the unfinished rollout belongs to run {run.run}, not to run {fields['run']}"
    if event == "activated" and run.stage == "staged":
        return "activated: the dead man is not armed"
    if event == "confirmed" and run.release != fields["release"]:
        return f"confirmed: the unfinished rollout is of {run.release}, not of {fields['release']}"
    return None


WITHOUT_PLAN = "Take the rollout back with the rollback playbook, which needs no plan, then roll out again"


class Ledger:
    """The ledger of the host that this root belongs to."""

    def __init__(self, root: str, host: str, clock: Clock) -> None:
        self.folder = os.path.join(root, "ledger")
        self._host = host
        self._clock = clock
        self._chain = Chain(os.path.join(self.folder, "ledger.jsonl"))

    @property
    def path(self) -> str:
        return self._chain.path

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises ChainError when the file is not what was written."""
        return self._chain.entries()

    def state(self) -> LedgerState:
        return compute_state(self.entries())

    def append(self, event: str, **fields: Any) -> Entry:
        """Write one event, durable when this returns; ``FIELDS`` says what each must have.

        ``previous`` (a release) is kept as ``previous_release``: in the file the word is the chain's.
        Raises LedgerError when the event cannot follow what the ledger says.
        """
        if "previous" in fields:
            fields["previous_release"] = fields.pop("previous")

        def admit(entries: list[Entry]) -> None:
            reason = refusal(compute_state(entries), event, fields)
            if reason is not None:
                raise LedgerError(reason, where=self.path, fix="Look at the host with the status playbook")

        time = datetime.fromtimestamp(self._clock.now(), timezone.utc).isoformat(timespec="milliseconds")
        make_directory(self.folder)
        return self._chain.append({**fields, "time": time, "host": self._host, "event": event}, admit)

    def save_plan(self, plan: Plan) -> None:
        """Keep the plan that entries will name, durable when this returns."""
        folder = os.path.join(self.folder, "plans")
        make_directory(folder)
        content = canonical(to_document(plan)) + "\n"
        write_file(os.path.join(folder, f"{_plain(plan.plan_hash)}.json"), content.encode())

    def load_plan(self, plan_hash: str) -> Plan:
        """The plan of that hash. Raises LedgerError when the host does not have it whole."""
        path = os.path.join(self.folder, "plans", f"{_plain(plan_hash)}.json")
        try:
            with open(path, "rb") as file:
                plan = from_document(json.loads(file.read()))
        except (OSError, ValueError, ContinuityError) as error:
            raise LedgerError(f"the plan cannot be read: {error}", where=path, fix=WITHOUT_PLAN) from error
        if plan.plan_hash != plan_hash:
            raise LedgerError(f"the file holds another plan, {plan.plan_hash}", where=path, fix=WITHOUT_PLAN)
        return plan


def _plain(name: str) -> str:
    if not name.isalnum():
        raise LedgerError(f"{name!r} is not the hash of a plan")
    return name
