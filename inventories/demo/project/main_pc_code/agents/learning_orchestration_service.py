# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Learning runs and how they ended."""

from main_pc_code.services.plain_service import PlainService


class LearningOrchestrationService(PlainService):
    """``/?run=NAME&result=passed|failed``"""

    state_kind = "sqlite-wal"

    def __init__(self):
        super().__init__()
        self.runs = {}

    def work(self, query):
        if "run" in query:
            self.runs[query["run"]] = query.get("result", "running")
        self.done += 1
        return {"runs": self.runs}


if __name__ == "__main__":
    LearningOrchestrationService().serve()
