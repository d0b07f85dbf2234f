# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project tree: scripts, modules as Python finds them, and what a process is made of."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_file import parse
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import (
    ScriptMissing,
    ScriptOutsideRoot,
    SearchPath,
    SourceTree,
)

FILES = {
    "agents/worker.py": """
        import sys
        from pathlib import Path
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
        import json, torch
        import kit.tools
        from common import paths
        from sibling import near
        def later():
            from common.deep import inner
        """,
    "agents/sibling.py": "near = 1\n",
    "agents/unused.py": "",
    "lib/kit/__init__.py": "from .tools import hammer\nfrom . import nails\n",
    "lib/kit/tools.py": "hammer = 1\n",
    "lib/kit/nails.py": "",
    "lib/kit/unused.py": "",
    "common/__init__.py": "",
    "common/paths.py": "try:\n    import common.gone\nexcept ImportError:\n    pass\n",
    "common/deep/inner.py": "import importlib\nimportlib.import_module('common.by_name')\n",
    "common/by_name.py": "",
}


@pytest.fixture
def root(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
    return tmp_path


@pytest.fixture
def tree(root):
    return SourceTree(str(root))


def test_the_closure_is_everything_that_may_be_loaded(tree):
    closure = tree.import_closure("agents/worker.py")
    assert closure.files == tuple(
        sorted(set(FILES) - {"agents/unused.py", "lib/kit/unused.py"}),
    )
    assert {"torch", "json", "common.gone"} <= set(closure.unresolved)
    assert closure.dynamic is False


def test_the_closure_holds_what_a_real_process_loads(root, tree):
    """A process of the script, with a finder's word on every module of the tree that it loaded."""
    script = "import runpy, sys\nsys.modules['torch'] = sys\nrunpy.run_path('agents/worker.py')['later']()\n"
    script += "import os\nfor m in list(sys.modules.values()):\n    f = getattr(m, '__file__', None)\n"
    script += "    if f and f.startswith(os.getcwd()): print(os.path.relpath(f))\n"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={"PYTHONPATH": f"{root}/agents:{root}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(ran.stdout.split())
    assert {"lib/kit/nails.py", "common/deep/inner.py", "common/by_name.py"} <= loaded
    assert loaded <= set(tree.import_closure("agents/worker.py").files)


@pytest.mark.parametrize(
    "line, dynamic",
    [
        ("import importlib\nimportlib.import_module('common.paths')\n", False),
        ("import importlib\nname = 'x'\nimportlib.import_module(name)\n", True),
        ("__import__('common.paths')\n", False),
        ("__import__(input())\n", True),
        ("import runpy\nrunpy.run_path('x.py')\n", True),
        ("import importlib\nimportlib.import_module('.x', __package__)\n", True),
        ("import common.paths\n", False),
    ],
)
def test_names_computed_at_run_time(root, line, dynamic):
    (root / "run.py").write_text(line)
    assert SourceTree(str(root)).import_closure("run.py").dynamic is dynamic


def test_an_import_by_a_constant_name_is_followed(root):
    (root / "run.py").write_text("import importlib\nimportlib.import_module('common.paths')\n")
    assert "common/paths.py" in SourceTree(str(root)).import_closure("run.py").files


def test_a_script_that_does_not_parse_is_its_own_closure(root):
    (root / "run.py").write_text("def (\n")
    assert SourceTree(str(root)).import_closure("run.py").files == ("run.py",)


def test_the_search_path_is_pythons_order(tree):
    assert tree.search_path("agents/worker.py").folders == ("agents", "lib", "")
    assert tree.search_path("agents/sibling.py", {"PYTHONPATH": "/elsewhere:${PWD}/lib:${PYTHONPATH}"}).folders == (
        "agents",
        "lib",
        "",
    )


ADDITIONS = {
    "import sys\nsys.path.append('lib')\n": ("", "lib"),
    "import sys\nsys.path += ['lib', 'common']\n": ("", "lib", "common"),
    "import sys\nsys.path[0:0] = ['lib']\n": ("", "lib"),
    "import sys\nsys.path = ['lib'] + sys.path\n": ("", "lib"),
    "import sys\nsys.path.extend(['lib', 'common'])\n": ("", "lib", "common"),
    "import os, sys\nsys.path.append(os.path.join(os.getcwd(), 'lib'))\n": ("", "lib"),
    "import os, sys\nA = os.path.dirname(os.path.abspath(__file__))\nsys.path.append(A + '/lib')\n": ("", "lib"),
    "import sys\nimport pathlib\nsys.path.append((pathlib.Path(__file__).parent / 'lib').as_posix())\n": ("", "lib"),
    "import sys\nfrom pathlib import Path\nsys.path.append(str(Path(__file__).parent.joinpath('lib')))\n": ("", "lib"),
    "import os, sys\nsys.path.append(os.environ.get('LIB', 'lib'))\n": ("", "lib"),
    "import sys\ndef f():\n    for p in ('lib', 'common'):\n        sys.path.insert(0, p)\n": ("", "lib", "common"),
    "import sys\nsys.path.append('/usr/lib/elsewhere')\n": ("",),
    "import sys\nsys.path.append('../..')\n": ("",),
}


@pytest.mark.parametrize("script, folders", ADDITIONS.items(), ids=range(len(ADDITIONS)))
def test_additions_to_sys_path_are_read(root, script, folders):
    (root / "run.py").write_text(script)
    path = SourceTree(str(root)).search_path("run.py")
    assert set(path.folders) == set(folders) and path.open is False


@pytest.mark.parametrize("expression", ["input()", "CONFIG['path']", "os.environ['X']", "f'{x}/lib'", "a", "3"])
def test_an_addition_that_cannot_be_read_leaves_the_path_open(root, expression):
    (root / "run.py").write_text(f"import os, sys\na = a\nsys.path.insert(0, {expression})\n")
    assert SourceTree(str(root)).search_path("run.py").open is True


def test_modules_are_found_by_the_rules_of_import(root, tree):
    path = SearchPath(("agents", "lib", ""))
    assert tree.find("kit.tools", path).executed == ("lib/kit/__init__.py", "lib/kit/tools.py")
    assert tree.find("common.deep", path).namespace
    assert tree.find("common.deep.inner", path).file == "common/deep/inner.py"
    assert tree.find("kit.saw", path).missing == "kit.saw"
    assert tree.find("kit.tools.hammer", path).missing == "kit.tools.hammer"
    assert tree.find("torch", path) is None


def test_a_package_wins_over_a_module_and_both_over_a_folder(root):
    for name in ("one/same/__init__.py", "one/same.py", "two/other.py", "one/other/inner.py", "two/same/extra.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    tree = SourceTree(str(root))
    path = SearchPath(("one", "two"))
    assert tree.find("same", path).file == "one/same/__init__.py"
    assert tree.find("same.nowhere", path).missing == "same.nowhere"
    assert tree.find("other", path).file == "two/other.py"


def test_a_module_that_another_order_of_folders_would_find_is_found(root):
    for name in ("one/utils/__init__.py", "two/utils/__init__.py", "two/utils/client.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    assert SourceTree(str(root)).find("utils.client", SearchPath(("one", "two"))).file == "two/utils/client.py"


def test_portions_of_a_folder_package_are_searched_together(root):
    for name in ("one/wide/a.py", "two/wide/b.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    tree = SourceTree(str(root))
    assert tree.find("wide.b", SearchPath(("one", "two"))).file == "two/wide/b.py"


def test_a_module_behind_a_link_out_of_the_root_is_there_and_not_read(root):
    outside = root.parent / "outside.py"
    outside.write_text("import common.gone\n")
    (root / "linked.py").symlink_to(outside)
    assert SourceTree(str(root)).find("linked", SearchPath(("",))).opaque


@pytest.mark.parametrize(
    "path, error", [("gone.py", ScriptMissing), ("", ScriptOutsideRoot), ("../x", ScriptOutsideRoot)]
)
def test_scripts_that_are_none(tree, path, error):
    with pytest.raises(error) as caught:
        tree.resolve_script(path)
    assert caught.value.fix


@pytest.mark.parametrize("path", ["a\0b.py", "x" * 5000 + ".py", "agents/worker.py/inner.py"])
def test_strange_paths_are_script_errors(tree, path):
    with pytest.raises((ScriptMissing, ScriptOutsideRoot)):
        tree.resolve_script(path)


@pytest.mark.parametrize("path", ["agents/worker.py", "./agents/worker.py", "agents/../agents/worker.py"])
def test_one_script_has_one_name(tree, path):
    assert tree.script(path).path == "agents/worker.py"


def test_a_root_that_is_none(tmp_path):
    with pytest.raises(ContinuityError, match="no folder"):
        SourceTree(str(tmp_path / "none"))


def test_a_root_reached_by_a_link(root):
    link = root.parent / "link"
    link.symlink_to(root)
    assert SourceTree(str(link)).resolve_script("agents/worker.py").is_file()


def test_parsing_leaves_the_collector_as_it_was():
    import gc

    assert gc.isenabled()
    parse(b"x = 1\n")
    assert gc.isenabled()
    gc.disable()
    try:
        parse(b"def (")
        assert not gc.isenabled()
    finally:
        gc.enable()
