# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses the smallest model that can do a task."""

from common.core.base_agent import BaseAgent

MODELS = {"tiny": {"chat"}, "middle": {"chat", "translate"}, "large": {"chat", "translate", "code"}}


class ModelOrchestrator(BaseAgent):
    """``/?task=chat|code|translate``"""

    def work(self, query):
        able = [model for model, tasks in MODELS.items() if query.get("task", "chat") in tasks]
        return {"model": able[0] if able else None}


if __name__ == "__main__":
    ModelOrchestrator().run()
