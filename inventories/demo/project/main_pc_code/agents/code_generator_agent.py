# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the skeleton of a function from its name and parameters."""

from common.core.base_agent import BaseAgent


class CodeGenerator(BaseAgent):
    """``/?name=NAME&parameters=a,b``"""

    def work(self, query):
        name, parameters = query.get("name", "nothing"), query.get("parameters", "")
        if not name.isidentifier():
            raise ValueError(f"{name} is no name")
        return {"code": f"def {name}({parameters}):\n    raise NotImplementedError\n"}


if __name__ == "__main__":
    CodeGenerator().run()
