# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd asked by one ``systemctl`` for many units.

Looking at all units of the fleet costs two calls of a few milliseconds; ``systemctl show`` costs two
milliseconds for each unit, and is kept for what only it knows.
"""

from __future__ import annotations

from typing import Iterable, Mapping, NamedTuple, Sequence

from ..effects import Runner
from ..errors import ContinuityError

PROPERTIES = [
    "Id",
    "ActiveState",
    "SubState",
    "LoadState",
    "Result",
    "MainPID",
    "NRestarts",
    "ExecMainStatus",
    "ConditionResult",
    "ActiveEnterTimestampMonotonic",
]
OURS = ("agent-*", "continuity-*")
UNLOADED = {"LoadState": "unloaded", "ActiveState": "inactive", "SubState": "dead", "Job": ""}

Properties = Mapping[str, str]
"""Property to value, as systemd writes it; ``Refused`` is what systemctl said when it refused a verb."""


class Question(NamedTuple):
    """``start restart stop reset-failed`` or ``look`` for some units (answered by their states), or ``show``."""

    verb: str
    units: tuple[str, ...]


class Systemctl:
    """Runs systemctl; raises ContinuityError when systemd cannot be asked."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def look(self, units: Iterable[str]) -> dict[str, dict[str, str]]:
        """LoadState, ActiveState, SubState and Job of every unit; one that is not in memory is inactive.

        Jobs are listed first: a job that is gone by then has already left its mark on the state.
        """
        jobs = {line[1]: line[0] for line in self._lines("list-jobs") if len(line) > 1}
        states = {line[0]: line for line in self._lines("list-units", "--all", "--full", *OURS) if len(line) > 3}
        seen = {}
        for unit in units:
            _unused, load, active, sub, *_rest = states.get(unit) or ["", *list(UNLOADED.values())[:3]]
            seen[unit] = {"LoadState": load, "ActiveState": active, "SubState": sub, "Job": jobs.get(unit, "")}
        return seen

    def show(self, units: Iterable[str]) -> dict[str, dict[str, str]]:
        """All that systemd says of every unit."""
        wanted = list(dict.fromkeys(units))
        if not wanted:
            return {}
        text = self._read("show", f"--property={','.join(PROPERTIES)}", "--", *wanted)
        blocks = [
            dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")
        ]
        found = {block["Id"]: block for block in blocks if "Id" in block}
        return {unit: found.get(unit, dict(UNLOADED)) for unit in wanted}

    def exchange(self, questions: Sequence[Question]) -> list[Mapping[str, Properties]]:
        """Queue the jobs of all questions by one call for each verb, then look at all units once.

        A queued job is not a finished one: whoever asks goes on looking until ``Job`` is empty.
        """
        refused: dict[str, str] = {}
        for verb in ("stop", "reset-failed", "start", "restart"):
            units = [unit for question in questions if question.verb == verb for unit in question.units]
            if units:
                waiting = [] if verb == "reset-failed" else ["--no-block"]
                ended = self._runner.run(["systemctl", verb, *waiting, "--", *units])
                for unit in units if ended.status != 0 else ():
                    said = [line for line in ended.stderr.splitlines() if unit in line.replace(":", " ").split()]
                    refused[unit] = " ".join(said)
        shown = self.show(unit for question in questions if question.verb == "show" for unit in question.units)
        seen = self.look({unit for question in questions for unit in question.units})
        return [
            {unit: {**seen[unit], **shown.get(unit, {}), "Refused": refused.get(unit, "")} for unit in question.units}
            for question in questions
        ]

    def run(self, *arguments: str, accepted: Sequence[int] = (0,)) -> None:
        """Any other call; its failure is an error with systemd's own words."""
        ended = self._runner.run(["systemctl", *arguments], timeout=120)
        if ended.status not in accepted:
            raise ContinuityError(
                f"systemctl {arguments[0]} failed: {(ended.stderr or ended.stdout).strip()}",
                where=" ".join(arguments[1:]),
            )

    def _lines(self, *arguments: str) -> list[list[str]]:
        text = self._read(*arguments, "--plain", "--no-legend", "--no-pager")
        return [line.lstrip("\u25cf* ").split() for line in text.splitlines()]

    def _read(self, *arguments: str) -> str:
        ended = self._runner.run(["systemctl", *arguments])
        if ended.status != 0:
            raise ContinuityError(
                f"systemd cannot be asked: {ended.stderr.strip()}",
                where=f"systemctl {arguments[0]}",
                fix="Run this host under systemd, or set continuity_supervisor to supervisord",
            )
        return ended.stdout
