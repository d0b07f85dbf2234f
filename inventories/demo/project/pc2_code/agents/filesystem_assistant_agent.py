# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in its own folder."""

import os

import common.core.base_agent as base


class FileSystemAssistantAgent(base.BaseAgent):
    """``/``"""

    def work(self, query):
        return {"files": sorted(os.listdir(self.life.identity.state_dir))}


if __name__ == "__main__":
    FileSystemAssistantAgent().run()
