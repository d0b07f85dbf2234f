# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risk D: which agents stand on the shared base class, whatever their text looks like."""

from __future__ import annotations

import textwrap

import pytest

IMPORT = "from common.core.base_agent import BaseAgent\n"
MAIN = "if __name__ == '__main__':\n    Sample().run()\n"

EXTRA = {
    "main_pc_code/__init__.py": "",
    "main_pc_code/agents/__init__.py": "",
    "main_pc_code/agents/middle.py": IMPORT + "class Middle(BaseAgent):\n    pass\n",
    "main_pc_code/agents/further.py": "from main_pc_code.agents.middle import Middle\nclass Further(Middle): ...\n",
    "main_pc_code/agents/real.py": IMPORT
    + "class Real(BaseAgent): ...\nclass Other: ...\ndef main():\n    Real().run()\n",
    "main_pc_code/agents/free.py": "class Free: ...\ndef main():\n    Free()\n",
    "main_pc_code/agents/broken.py": "class Broken(:\n",
    "main_pc_code/agents/made.py": "Made = type('Made', (), {})\n",
    "main_pc_code/old/base_agent.py": "class BaseAgent:\n    pass\n",
    "main_pc_code/again/__init__.py": "from common.core.base_agent import BaseAgent\n",
    "main_pc_code/stars.py": "from common.core.base_agent import *\n",
    "main_pc_code/wrapped.py": IMPORT.replace("BaseAgent\n", "BaseAgent as Real\n") + "class BaseAgent(Real): ...\n",
    "main_pc_code/third.py": "from agentkit import BaseAgent\n",
}

NONE = []
STANDINGS = {
    "direct": (IMPORT + "class Sample(BaseAgent): ...\n" + MAIN, NONE),
    "direct, alias": ("from common.core.base_agent import BaseAgent as BA\nclass Sample(BA): ...\n" + MAIN, NONE),
    "direct, module": (
        "import common.core.base_agent\nclass Sample(common.core.base_agent.BaseAgent): ...\n" + MAIN,
        NONE,
    ),
    "direct, module alias": ("import common.core.base_agent as m\nclass Sample(m.BaseAgent): ...\n" + MAIN, NONE),
    "direct, module by from": (
        "from common.core import base_agent\nclass Sample(base_agent.BaseAgent): ...\n" + MAIN,
        NONE,
    ),
    "direct, assigned alias": (IMPORT + "Base = BaseAgent\nclass Sample(Base): ...\n" + MAIN, NONE),
    "direct, star": ("from common.core.base_agent import *\nclass Sample(BaseAgent): ...\n" + MAIN, NONE),
    "direct, star twice": ("from main_pc_code.stars import *\nclass Sample(BaseAgent): ...\n" + MAIN, NONE),
    "direct, exported by a package": (
        "from main_pc_code.again import BaseAgent\nclass Sample(BaseAgent): ...\n" + MAIN,
        NONE,
    ),
    "direct, second base": (IMPORT + "class Mixin: ...\nclass Sample(Mixin, BaseAgent): ...\n" + MAIN, NONE),
    "direct, in a try": (
        "try:\n    from common.core.base_agent import BaseAgent\nexcept ImportError:\n    raise\nclass Sample(BaseAgent): ...\n"
        + MAIN,
        NONE,
    ),
    "direct, class under an if": (IMPORT + "if True:\n    class Sample(BaseAgent): ...\n" + MAIN, NONE),
    "direct, run by a function": (
        IMPORT
        + "class Sample(BaseAgent): ...\ndef main():\n    Sample().run()\nif __name__ == '__main__':\n    main()\n",
        NONE,
    ),
    "direct, never started": (IMPORT + "class Sample(BaseAgent): ...\n", NONE),
    "direct, another name": (
        IMPORT + "class Totally(BaseAgent): ...\nif __name__ == '__main__':\n    Totally()\n",
        NONE,
    ),
    "direct, started on an event": (
        IMPORT
        + "from fastapi import FastAPI\napp = FastAPI()\nclass Settings: ...\nclass Totally(BaseAgent): ...\n"
        + "@app.on_event('startup')\ndef begin():\n    Totally()\n",
        NONE,
    ),
    "direct, searched in a folder that is added": (
        "import sys\nsys.path.insert(0, 'common')\nfrom core.base_agent import BaseAgent\nclass Sample(BaseAgent): ...\n"
        + MAIN,
        NONE,
    ),
    "direct, searched where nobody can tell": (
        "import sys\nsys.path.insert(0, input())\nfrom core.base_agent import BaseAgent\nclass Sample(BaseAgent): ...\n"
        + MAIN,
        NONE,
    ),
    "none, its own module of that name": (
        "from agentkit.base_agent import BaseAgent\nclass Sample(BaseAgent): ...\n" + MAIN,
        ["D-none"],
    ),
    "direct, beside a helper": (
        IMPORT + "class Cache: ...\nclass Sample(BaseAgent): ...\ncache = Cache()\n" + MAIN,
        NONE,
    ),
    "indirect, one file": (IMPORT + "class Mine(BaseAgent): ...\nclass Sample(Mine): ...\n" + MAIN, ["D-indirect"]),
    "indirect, other file": (
        "from main_pc_code.agents.middle import Middle\nclass Sample(Middle): ...\n" + MAIN,
        ["D-indirect"],
    ),
    "indirect, beside the script": ("from middle import Middle\nclass Sample(Middle): ...\n" + MAIN, ["D-indirect"]),
    "indirect, two files": ("from further import Further\nclass Sample(Further): ...\n" + MAIN, ["D-indirect"]),
    "indirect, wrapped under its name": (
        "from main_pc_code.wrapped import BaseAgent\nclass Sample(BaseAgent): ...\n" + MAIN,
        ["D-indirect"],
    ),
    "launcher of a class": (
        "from main_pc_code.agents.real import Real\nif __name__ == '__main__':\n    Real().run()\n",
        ["D-indirect"],
    ),
    "launcher of a function": (
        "from main_pc_code.agents.real import main\nif __name__ == '__main__':\n    main()\n",
        ["D-indirect"],
    ),
    "launcher of a module": (
        "from main_pc_code.agents import real\nif __name__ == '__main__':\n    real.main()\n",
        ["D-indirect"],
    ),
    "launcher, import in the block": (
        "if __name__ == '__main__':\n    from main_pc_code.agents.real import Real\n    Real().run()\n",
        ["D-indirect"],
    ),
    "launcher, import in a function": (
        "def go():\n    from main_pc_code.agents.real import Real as R\n    R().run()\ngo()\n",
        ["D-indirect"],
    ),
    "launcher by runpy": (
        "import runpy\nrunpy.run_module('main_pc_code.agents.middle_run', run_name='__main__')\n",
        ["D-indirect"],
    ),
    "launcher of a free class": ("from main_pc_code.agents.free import main\nmain()\n", ["D-none"]),
    "launcher that imports a base agent and runs another": (
        "from main_pc_code.agents.real import Other\nif __name__ == '__main__':\n    Other()\n",
        ["D-none"],
    ),
    "none": ("class Sample: ...\n" + MAIN, ["D-none"]),
    "none, no class": ("import time\nwhile True:\n    time.sleep(1)\n", ["D-none"]),
    "none, empty": ("", ["D-none"]),
    "none, only the name in text": (
        "# class Sample(BaseAgent)\n'''class Sample(BaseAgent): ...'''\nclass Sample: ...\n" + MAIN,
        ["D-none"],
    ),
    "none, imported and unused": (IMPORT + "class Sample: ...\n" + MAIN, ["D-none"]),
    "none, other class stands on it": (
        IMPORT
        + "class Helper(BaseAgent): ...\nclass Sample:\n    def __init__(self):\n        self.helper = Helper()\n"
        + MAIN,
        ["D-none"],
    ),
    "none, somebody else's base": ("from agentkit import BaseAgent\nclass Sample(BaseAgent): ...\n" + MAIN, ["D-none"]),
    "none, somebody else's base through a file": (
        "from main_pc_code.third import BaseAgent\nclass Sample(BaseAgent): ...\n" + MAIN,
        ["D-none"],
    ),
    "none, a name that ends alike": ("class NotBaseAgent: ...\nclass Sample(NotBaseAgent): ...\n" + MAIN, ["D-none"]),
    "none, inherits from itself": ("class Sample(Sample): ...\n" + MAIN, ["D-none"]),
    "none, made by a call": ("class Sample(make_base()): ...\n" + MAIN, ["D-none"]),
    "stub, local": ("class BaseAgent: ...\nclass Sample(BaseAgent): ...\n" + MAIN, ["D-stub"]),
    "stub, import finds nothing": (
        "try:\n    from common.core.gone import BaseAgent\nexcept ImportError:\n    class BaseAgent: ...\nclass Sample(BaseAgent): ...\n"
        + MAIN,
        ["D-stub"],
    ),
    "stub stands by": (
        "try:\n    from common.core.base_agent import BaseAgent\nexcept ImportError:\n    class BaseAgent: ...\nclass Sample(BaseAgent): ...\n"
        + MAIN,
        ["D-stub"],
    ),
    "stub, copy in another path": (
        "from main_pc_code.old.base_agent import BaseAgent\nclass Sample(BaseAgent): ...\n" + MAIN,
        ["D-stub"],
    ),
    "unparsed parent": (
        "from main_pc_code.agents.broken import Broken\nclass Sample(Broken): ...\n" + MAIN,
        ["D-unparsed"],
    ),
    "unparsed, launched": ("from main_pc_code.agents.broken import main\nmain()\n", ["D-unparsed"]),
    "a parent that is missing is risk A's": (
        "from main_pc_code.agents.gone import Parent\nclass Sample(Parent): ...\n" + MAIN,
        NONE,
    ),
    "a parent that is missing from its package is too": (
        "from main_pc_code.agents import gone\nclass Sample(gone.Parent): ...\n" + MAIN,
        NONE,
    ),
    "none, a parent that is made": (
        "from main_pc_code.agents.made import Made\nclass Sample(Made): ...\n" + MAIN,
        ["D-none"],
    ),
    "direct, a class that a function makes": (
        IMPORT + "def make():\n    class Sample(BaseAgent): ...\n    return Sample()\nmake().run()\n",
        NONE,
    ),
    "direct, a module imported by a call": (
        "import importlib\nBase = importlib.import_module('common.core.base_agent').BaseAgent\nclass Sample(Base): ...\n"
        + MAIN,
        NONE,
    ),
    "unparsed helper does not matter": (
        IMPORT + "from main_pc_code.agents.broken import tool\nclass Sample(BaseAgent): ...\ntool()\n" + MAIN,
        NONE,
    ),
}


@pytest.mark.parametrize("script, expected", STANDINGS.values(), ids=STANDINGS.keys())
def test_standing(one, script, expected):
    extra = {**EXTRA, "main_pc_code/agents/middle_run.py": EXTRA["main_pc_code/agents/middle.py"] + "Middle().run()\n"}
    assert [found.rule for found in one(script, extra).findings("D")] == expected


def test_the_chain_is_the_evidence(one):
    (found,) = one("from further import Further\nclass Sample(Further): ...\n" + MAIN, EXTRA).findings("D")
    assert found.evidence["chain"] == [
        "main_pc_code/agents/sample.py:Sample",
        "main_pc_code/agents/further.py:Further",
        "main_pc_code/agents/middle.py:Middle",
        "common/core/base_agent.py:BaseAgent",
    ]
    assert (found.file, found.line, found.severity) == ("main_pc_code/agents/sample.py", 2, "info")


def test_a_stub_in_use_is_worse_than_one_that_stands_by(one):
    used = one(STANDINGS["stub, import finds nothing"][0], EXTRA).findings("D")
    assert [found.severity for found in used] == ["warning"]


def test_a_stub_that_stands_by_is_told_apart(one):
    (found,) = one(STANDINGS["stub stands by"][0], EXTRA).findings("D")
    assert (found.severity, found.line) == ("info", 4)


def test_two_agents_of_one_script(project):
    text = (
        IMPORT + "class First(BaseAgent): ...\nclass Second: ...\nif __name__ == '__main__':\n    First(); Second()\n"
    )
    project.write({"common/core/base_agent.py": "class BaseAgent: ...\n", "both.py": text})
    project.agents({"First": "both.py", "Second": "both.py"})
    assert project.rules("D") == [("D-none", "Second")]


def test_a_base_class_that_was_deleted_is_still_what_was_meant(project):
    project.write({"common/core/other.py": "", "a.py": IMPORT + "class A(BaseAgent): ...\n"}).agents({"A": "a.py"})
    assert project.rules("D") == []
    assert project.rules("A") == [("A-import", "A")]


def test_a_stub_takes_the_place_of_a_deleted_base_class(project):
    script = STANDINGS["stub stands by"][0]
    project.write({"common/core/other.py": "", "a.py": script}).agents({"A": "a.py"})
    assert project.rules("D") == [("D-stub", "A")]


def test_a_project_that_keeps_the_base_class_elsewhere(project):
    project.write(
        {
            "main_pc_code/src/core/base_agent.py": "class BaseAgent: ...\n",
            "a.py": "from main_pc_code.src.core.base_agent import BaseAgent\nclass A(BaseAgent): ...\n",
        }
    ).agents({"A": "a.py"})
    assert project.rules("D") == []


def test_a_broken_base_class_is_risk_a_alone(project):
    project.write({"common/core/base_agent.py": "class BaseAgent(:\n", "a.py": IMPORT + "class A(BaseAgent): ...\n"})
    project.agents({"A": "a.py"})
    assert project.rules("D") == []
    assert project.rules("A") == [("A-import", "A")]


def test_a_missing_script_is_risk_a_alone(project):
    project.agents({"A": "gone.py"})
    assert project.rules("D") == []


def test_names_that_lead_to_each_other_end(one):
    script = (
        "a = b\nb = a\n"
        + "".join(f"n{i} = n{i + 1} or n{i + 2}\n" for i in range(60))
        + "class Sample(a, n0): ...\n"
        + MAIN
    )
    assert [found.rule for found in one(script).findings("D")] == ["D-none"]


def test_a_wide_lattice_of_bases_is_bounded(one):
    lines = [IMPORT, "class L0(BaseAgent): ...", "class R0: ..."]
    lines += [f"class L{i}(L{i - 1}, R{i - 1}): ...\nclass R{i}(L{i - 1}, R{i - 1}): ..." for i in range(1, 25)]
    script = textwrap.dedent("\n".join(lines)) + "\nclass Sample(R24): ...\n" + MAIN
    assert [found.rule for found in one(script).findings("D")] == ["D-indirect"]


def test_a_class_that_the_main_block_does_not_start_is_not_the_agent(one):
    script = (
        IMPORT
        + "class Config: ...\nclass Totally(BaseAgent): ...\nconfig = Config()\nif __name__ == '__main__':\n    Totally()\n"
    )
    assert one(script).findings("D") == []


def test_the_agents_class_counts_though_nothing_starts_it(one):
    assert one(IMPORT + "class Config: ...\nclass Sample(BaseAgent): ...\nconfig = Config()\n").findings("D") == []


def test_a_script_of_another_language_stands_on_nothing(project):
    project.write({"run.sh": "#!/bin/sh\nexec agentd\n"}).agents({"A": "run.sh"})
    assert project.rules("D") == [("D-none", "A")]
    assert project.rules("A") == []


def test_a_base_that_only_an_unreadable_search_path_leads_to(project):
    script = f"import sys, json\nsys.path.insert(0, json.load(open('x')))\nfrom src.core.base_agent import BaseAgent\nclass Sample(BaseAgent): ...\n{MAIN}"
    project.write({"pc2_code/agents/a.py": script, "main_pc_code/src/core/base_agent.py": "class BaseAgent: ...\n"})
    project.agents({"A": "pc2_code/agents/a.py"})
    assert project.rules("D") == []
    project.write({"pc2_code/src/core/base_agent.py": "from common.core.base_agent import BaseAgent\n"})
    project.write({"common/core/base_agent.py": "class BaseAgent: ...\n"})
    assert project.rules("D") == []
    project.write({"pc2_code/src/core/base_agent.py": "class BaseAgent: ...\n"})
    assert project.rules("D") == [("D-stub", "A")]
