# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risk A: which scripts cannot be started, and which only look as if they could not."""

from __future__ import annotations

import os

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet import source_file


def told(found):
    return [(one.rule, one.evidence.get("kind"), one.evidence.get("name"), one.evidence.get("when")) for one in found]


SOUND = {
    "plain": "import os, sys\nimport torch\nfrom transformers import pipeline\n",
    "first party": "from common.core.base_agent import BaseAgent\nimport common.utils.path_manager as pm\n",
    "submodule as a name": "from common.utils import path_manager\nfrom common import core, utils\n",
    "missing, caught": """
        try:
            from common.utils.gone import x
        except ImportError:
            x = None
    """,
    "missing, caught by a tuple": """
        try:
            import common.gone
        except (ModuleNotFoundError, AttributeError):
            pass
    """,
    # A bare except is what agents do; the audit has to understand it.
    "missing, caught by all": "try:\n    from common.gone import y\nexcept:\n    pass\n",
    "missing, suppressed": "import contextlib\nwith contextlib.suppress(ImportError):\n    import common.gone\n",
    "type checking only": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from common.gone import Type
        def f(x: "Type") -> None: ...
    """,
    "fallback import is there": """
        try:
            from common.gone import helper
        except ImportError:
            from common.utils.path_manager import join_path as helper
        helper("x")
    """,
    "fallback of a third-party module is missing": """
        try:
            import torch
        except ImportError:
            from common import gone
    """,
    "third-party in a folder's name": "import docker\nfrom docker.errors import NotFound\nfrom redis import Redis\n",
    "standard library in a folder's name": "from logging.handlers import RotatingFileHandler\nimport queue.nothing\n",
    "bound by star": "from common.utils.names import *\nprint(exported)\n",
    "star of a stranger": "from torch.nn import *\nlayer = Linear(1, 2)\n",
    "dynamic names": "globals()['late'] = 1\nprint(late)\n",
    "module getattr": "from common.lazy import whatever\n",
    "module that replaces itself": "from common.replaced import whatever\n",
    "names in branches": """
        import sys
        if sys.platform == "win32":
            separator = ";"
        else:
            separator = ":"
        print(separator)
        for item in []:
            last = item
        while False:
            never = 1
        print(last if False else None)
    """,
    "builtins and dunders": "print(__file__, __name__, __doc__)\nx: int = len([])\n",
    "names in functions are not run": "def later():\n    return nowhere\n",
    "lambda and comprehension": "f = lambda: nowhere\ng = [nowhere for _ in ()]\n",
    "short circuit": "ready = False and nowhere\nvalue = 1 if True else nowhere\n",
    "class scope": """
        class A:
            size = 3
            other = size + 1
            def method(self): return self.size
        B = A
    """,
    "exception name": "try:\n    import zmq\nexcept ImportError as error:\n    print(error)\n",
    "walrus": "if (n := 3) > 2:\n    print(n)\n",
    "global in a function": "def setup():\n    global cache\n    cache = {}\nsetup()\nprint(cache)\n",
    "future annotations": "from __future__ import annotations\ndef f(x: Nowhere) -> Nowhere: ...\nclass C:\n    y: Nowhere\n",
    "main block names": "if __name__ == '__main__':\n    import sys\n    sys.exit(0)\n",
    "injected module": "import sys, types\nsys.modules['common.made'] = types.ModuleType('common.made')\nimport common.made\n",
    "its own path": "from common.plugins.anything import x\n",
    "names error caught": "try:\n    unicode\nexcept NameError:\n    unicode = str\n",
    "extension module": "from common.native import fast\n",
    "sys.path by name": """
        import os, sys
        HERE = os.path.dirname(os.path.abspath(__file__))
        MAIN = os.path.join(HERE, "..")
        for folder in (MAIN, HERE):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        from utils.service_client import ask
    """,
    "sys.path by pathlib": """
        import sys
        from pathlib import Path
        MAIN_PC_CODE = Path(__file__).resolve().parent.parent
        sys.path.insert(0, str(MAIN_PC_CODE))
        from utils.service_client import ask
    """,
    "sys.path by the path manager": """
        import sys
        from common.utils.path_manager import join_path
        sys.path.append(str(join_path("main_pc_code")))
        from utils.service_client import ask
    """,
    "sys.path by a named getter": """
        import sys
        from common.utils.path_env import get_main_pc_code
        sys.path.insert(0, str(get_main_pc_code()))
        from utils.service_client import ask
    """,
    "sys.path that cannot be read": """
        import sys, json
        sys.path.insert(0, json.load(open("paths.json"))["code"])
        from utils.service_client import ask
        from main_pc_code.inner import thing
    """,
    "sys.path added by an import": "import common.setup_path\nfrom utils.service_client import ask\n",
    "beside the script": "from sibling import here\nimport sibling\n",
    "circular": "import common.round_one\n",
}

EXTRA = {
    "common/utils/names.py": "exported = 1\n",
    "common/replaced.py": "import sys\nclass Lazy: ...\nsys.modules[__name__] = Lazy()\n",
    "common/lazy.py": "def __getattr__(name):\n    return name\n",
    "common/plugins/__init__.py": "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)\n",
    "common/native.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
    "common/setup_path.py": "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), '..', 'main_pc_code'))\n",
    "common/utils/path_env.py": "def get_main_pc_code():\n    return 'x'\n",
    "common/round_one.py": "from common import round_two\nname = 1\n",
    "common/round_two.py": "import common.round_one\n",
    "main_pc_code/utils/service_client.py": "def ask(): ...\n",
    "main_pc_code/agents/sibling.py": "here = 1\n",
    "elsewhere/main_pc_code/inner.py": "thing = 1\n",
    "docker/compose/run.py": "import os\n",
    "redis/dump.py": "import os\n",
    "logging/rotate.py": "",
    "queue/__init__.py": "",
}


@pytest.mark.parametrize("script", SOUND.values(), ids=SOUND.keys())
def test_a_sound_script_has_no_finding(one, script):
    assert told(one(script, EXTRA).findings("A")) == []


BROKEN = {
    "deleted module": ("from common.gone import x\n", ("module", "common.gone", "start")),
    "deleted package": ("import common.gone.deeper\n", ("module", "common.gone.deeper", "start")),
    "deleted module of a folder without init": (
        "from main_pc_code.agents.gone import x\n",
        ("module", "main_pc_code.agents.gone", "start"),
    ),
    "module is no package": (
        "import common.utils.path_manager.inner\n",
        ("module", "common.utils.path_manager.inner", "start"),
    ),
    "missing name": (
        "from common.utils.path_manager import nothing\n",
        ("name", "common.utils.path_manager.nothing", "start"),
    ),
    "missing name of a package": ("from common.utils import nothing\n", ("name", "common.utils.nothing", "start")),
    "missing name of a folder": (
        "from main_pc_code.agents import nothing\n",
        ("module", "main_pc_code.agents.nothing", "start"),
    ),
    "relative in a script": ("from .sibling import here\n", ("relative", ".sibling", "start")),
    "name before its import": (
        "sys.path.insert(0, '.')\nimport sys\n",
        ("undefined", "sys", "start"),
    ),
    "name that nothing imports": ("ROOT = os.path.dirname(__file__)\n", ("undefined", "os", "start")),
    "attribute target": ("os.environ['A'] = '1'\nimport os\n", ("undefined", "os", "start")),
    "decorator": ("@dataclass\nclass A:\n    x: int = 1\n", ("undefined", "dataclass", "start")),
    "base class": ("class A(BaseAgent):\n    pass\n", ("undefined", "BaseAgent", "start")),
    "class body": ("class A:\n    log = logging.getLogger('a')\n", ("undefined", "logging", "start")),
    "default argument": ("def f(x=DEFAULT): ...\n", ("undefined", "DEFAULT", "start")),
    "annotation": ("def f(x: Optional[str]): ...\n", ("undefined", "Optional", "start")),
    "augmented": ("counter += 1\n", ("undefined", "counter", "start")),
    "in the main block": (
        "if __name__ == '__main__':\n    from common.gone import run\n",
        ("module", "common.gone", "start"),
    ),
    "handler ends the script": (
        "import sys\ntry:\n    from common.gone import x\nexcept ImportError as e:\n    print(e)\n    sys.exit(1)\n",
        ("module", "common.gone", "start"),
    ),
    "handler raises again": (
        "try:\n    from common.gone import x\nexcept ImportError:\n    raise\n",
        ("module", "common.gone", "start"),
    ),
    "handler of another error": (
        "try:\n    from common.gone import x\nexcept ValueError:\n    pass\n",
        ("module", "common.gone", "start"),
    ),
    "fallback missing too": (
        "try:\n    from common.gone import x\nexcept ImportError:\n    from common.gone_too import x\n",
        ("module", "common.gone_too", "start"),
    ),
    "caught, and then used all the same": (
        "try:\n    from common.gone import Base\nexcept ImportError as e:\n    print(e)\nclass A(Base): ...\n",
        ("undefined", "Base", "start"),
    ),
    "in a function": ("def f():\n    from common.gone import x\n    return x\n", ("module", "common.gone", "later")),
    "on a branch": ("import os\nif os.environ.get('X'):\n    import common.gone\n", ("module", "common.gone", "later")),
    "not on the path": (
        "from utils.service_client import ask\n",
        None,
    ),
}


@pytest.mark.parametrize("script, expected", BROKEN.values(), ids=BROKEN.keys())
def test_what_certainly_fails_is_found_once(one, script, expected):
    found = told(one(script, EXTRA).findings("A"))
    assert found == ([("A-import", *expected)] if expected else [])


def test_an_import_of_a_broken_module_names_that_module(one):
    project = one(
        "from common.middle import thing\n",
        {"common/middle.py": "from common.bottom import thing\n", "common/bottom.py": "def thing(:\n"},
    )
    (found,) = project.findings("A")
    assert (found.rule, found.file, found.line) == ("A-import", "common/bottom.py", 1)
    assert found.evidence["kind"] == "syntax"
    assert found.evidence["imported_by"] == "main_pc_code/agents/sample.py"


def test_a_failure_inside_an_import_is_found_at_its_place(one):
    project = one("import common.middle\n", {"common/middle.py": "\nfrom common.gone import x\n"})
    (found,) = project.findings("A")
    assert (found.file, found.line, found.evidence["name"]) == ("common/middle.py", 2, "common.gone")


def test_a_failing_import_that_the_importer_catches_is_none(one):
    script = "try:\n    import common.middle\nexcept ImportError:\n    pass\n"
    assert one(script, {"common/middle.py": "from common.gone import x\n"}).findings("A") == []


def test_two_scripts_of_one_folder_share_nothing_but_the_path(project):
    project.write({"a/one.py": "import b.gone\n", "a/two.py": "import b.there\n", "b/there.py": ""})
    project.agents({"One": "a/one.py", "Two": "a/two.py"})
    assert project.rules("A") == [("A-import", "One")]


def test_missing_script_says_where_the_file_is(project):
    project.write({"new/place/worker.py": ""}).agents({"Worker": "old/worker.py"})
    (found,) = project.findings("A")
    assert (found.rule, found.agent, found.severity) == ("A-missing", "Worker", "critical")
    assert "new/place/worker.py" in found.fix
    assert found.file.endswith("mainpc.yaml") and found.line == 4


def test_case_counts(project):
    project.write({"agents/Worker.py": ""}).agents({"Worker": "agents/worker.py"})
    (found,) = project.findings("A")
    assert found.rule == "A-missing" and "agents/Worker.py" in found.fix


def test_a_folder_is_no_script(project):
    project.write({"agents/worker/main.py": ""}).agents({"Worker": "agents/worker"})
    assert project.rules("A") == [("A-missing", "Worker")]


@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd", "agents/../../outside.py"])
def test_a_path_out_of_the_root_is_refused(project, path):
    (project.root.parent / "outside.py").write_text("")
    project.agents({"Worker": path})
    assert project.rules("A") == [("A-outside-root", "Worker")]


def test_a_link_out_of_the_root_is_refused(project):
    outside = project.root.parent / "outside.py"
    outside.write_text("")
    (project.root / "linked.py").symlink_to(outside)
    project.agents({"Worker": "linked.py"})
    assert project.rules("A") == [("A-outside-root", "Worker")]


def test_a_link_inside_the_root_is_followed(project):
    project.write({"real/worker.py": "import os\n"})
    (project.root / "worker.py").symlink_to("real/worker.py")
    project.agents({"Worker": "worker.py"})
    assert project.rules("A") == []


def test_a_link_to_itself_is_missing(project):
    (project.root / "loop.py").symlink_to("loop.py")
    project.agents({"Worker": "loop.py"})
    assert project.rules("A") == [("A-missing", "Worker")]


def test_folders_linked_in_a_circle_end(project):
    project.write({"a/x.py": "import a.b.a.b.a.gone\nimport a.gone\n"})
    os.symlink("..", project.root / "a" / "b")
    project.agents({"X": "a/x.py"})
    assert {found.rule for found in project.findings("A")} == {"A-import"}


SYNTAX = {
    "plain": ("def f(:\n    pass\n", 1),
    "indentation": ("def f():\n    x = 1\n  y = 2\n", 3),
    "conflict marker": ("import os\n<<<<<<< HEAD\nx = 1\n=======\n", 2),
    "placeholder in place of code": ("import os\ntoken = ${SECRET_PLACEHOLDER}\n", 2),
    "late future import": ("import os\nfrom __future__ import annotations\n", 2),
    "return outside": ("x = 1\nreturn x\n", 2),
    "await outside": ("import asyncio\nawait asyncio.sleep(1)\n", 2),
    "same argument twice": ("def f(a, a): ...\n", 1),
    "not UTF-8": ("# caf\xe9\n".encode("latin-1"), 1),
    "unknown encoding": (b"# -*- coding: klingon -*-\n", 1),
    "NUL": (b"x = 1\x00\n", 1),
    "too deep": (("x = " + "-" * 100_000 + "1\n").encode(), 1),
    "binary": (bytes(range(256)) * 4, 1),
}


@pytest.mark.parametrize("script, line", SYNTAX.values(), ids=SYNTAX.keys())
def test_what_does_not_parse_is_named_with_its_line(one, script, line):
    project = one(script)
    (found,) = project.findings("A")
    assert (found.rule, found.severity, found.file) == ("A-syntax", "critical", "main_pc_code/agents/sample.py")
    assert found.line == line or isinstance(script, bytes)
    assert [rule for rule, _agent in project.rules("D")] == ["D-unparsed"]


def test_a_declared_encoding_is_honoured(one):
    script = "# -*- coding: latin-1 -*-\nname = 'caf\xe9'\n".encode("latin-1")
    assert one(script).findings("A") == []


def test_a_byte_order_mark_is_no_error(one):
    assert one(b"\xef\xbb\xbfimport os\n").findings("A") == []


def test_a_huge_file_is_named_not_parsed(one):
    (found,) = one(b"x = 1\n" * 1_500_000).findings("A")
    assert found.rule == "A-syntax" and "larger than 8 MiB" in found.message


def test_an_expression_nested_too_deeply_does_not_end_the_audit(one):
    found = one("x = " + "+".join(["a"] * 50_000) + "\n").findings("A")
    assert [one_.rule for one_ in found] == ["A-syntax"]


def test_pythonpath_of_the_config_is_searched(project):
    project.write(
        {
            "lib/tools/kit.py": "x = 1\n",
            "other/tools/odd.py": "",
            "run.py": "from tools.kit import x\nimport tools.gone\n",
        }
    )
    config = """
        global_settings:
          environment:
            PYTHONPATH: '${PYTHONPATH}:${PWD}/lib'
        agent_groups:
          g:
            Run: {script_path: run.py, port: 5000, health_check_port: 6000}
    """
    project.config("mainpc", config)
    assert [found.evidence["name"] for found in project.findings("A")] == ["tools.gone"]


def test_an_import_is_reported_with_the_failure_that_ends_it(one):
    project = one(
        "import common.middle\n", {"common/middle.py": "from common.gone import x\nfrom common.gone_too import y\n"}
    )
    assert [found.evidence["name"] for found in project.findings("A")] == ["common.gone"]


def test_a_copy_that_is_set_aside_does_not_count(one):
    script = "import json, sys\nsys.path.insert(0, json.load(open('x')))\nfrom common.gone import x\n"
    assert one(script, {"_archive_2025/common/gone.py": "x = 1\n"}).rules("A") == [("A-import", "Sample")]


def test_a_file_that_is_not_read_is_not_said_to_have_bad_syntax(one, monkeypatch):
    monkeypatch.setattr(source_file, "LARGEST", 1024 * 1024)
    (found,) = one("#" * (1024 * 1024 + 1)).findings("A")
    assert (found.rule, found.message) == ("A-syntax", "main_pc_code/agents/sample.py is larger than 1 MiB")
