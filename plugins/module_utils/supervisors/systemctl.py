# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd asked by one ``systemctl`` for many units."""

from __future__ import annotations

from typing import Iterable, Mapping, NamedTuple, Sequence

from ..effects import Runner
from ..errors import ContinuityError

PROPERTIES = [
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "Job",
    "MainPID",
    "NRestarts",
    "ExecMainStatus",
    "ConditionResult",
    "ActiveEnterTimestampMonotonic",
    "FragmentPath",
]

Properties = Mapping[str, str]
"""Property to value, as systemd writes it; ``Refused`` is what systemctl said when it refused a verb."""


class Question(NamedTuple):
    """A verb for some units (``start stop reset-failed``, or ``show`` for none), and units to look at."""

    verb: str
    units: tuple[str, ...]
    look: tuple[str, ...] = ()


class Systemctl:
    """Runs systemctl; raises ContinuityError when systemd cannot be asked."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def show(self, units: Iterable[str]) -> dict[str, Properties]:
        """The state of every unit, known to systemd or not."""
        wanted = list(dict.fromkeys(units))
        if not wanted:
            return {}
        ended = self._runner.run(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *wanted])
        if ended.status != 0:
            raise ContinuityError(
                f"systemd cannot be asked: {ended.stderr.strip()}",
                where="systemctl show",
                fix="Run this host under systemd, or set continuity_supervisor to supervisord",
            )
        blocks = (
            dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            for block in ended.stdout.split("\n\n")
        )
        found = {block["Id"]: block for block in blocks if "Id" in block}
        return {
            unit: found.get(unit, {"Id": unit, "LoadState": "not-found", "ActiveState": "inactive"}) for unit in wanted
        }

    def exchange(self, questions: Sequence[Question]) -> list[dict[str, Properties]]:
        """Queue the jobs of all questions by one call for each verb, then look at all units by one more.

        A queued job is not a finished one: whoever asks goes on asking until ``Job`` is empty.
        """
        refused: dict[str, str] = {}
        for verb in ("stop", "reset-failed", "start"):
            units = [unit for question in questions if question.verb == verb for unit in question.units]
            if units:
                waiting = [] if verb == "reset-failed" else ["--no-block"]
                ended = self._runner.run(["systemctl", verb, *waiting, "--", *units])
                for unit in units if ended.status != 0 else ():
                    said = [line for line in ended.stderr.splitlines() if unit in line.replace(":", " ").split()]
                    if said:
                        refused[unit] = " ".join(said)
        seen = self.show(unit for question in questions for unit in (*question.units, *question.look))
        return [
            {
                unit: {**seen[unit], "Refused": refused.get(unit, "")}
                for unit in dict.fromkeys((*question.units, *question.look))
            }
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
