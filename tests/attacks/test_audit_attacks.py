# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""No file, whatever is in it, ends the audit; and what Python itself runs is no finding."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
import sysconfig
import textwrap
import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.audit.audit import Report, Settings, audit
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.baseline import Baseline
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import SourceTree
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
LEFT_OUT = {
    "antigravity.py": "opens a browser",
    "this.py": "prints a poem",
    "idlelib": "needs a display",
    "__phello__": "is frozen",
}


def audited(folder: Path, files: dict[str, bytes]) -> Report:
    root = folder / "project"
    root.mkdir(exist_ok=True)
    lines = ["agent_groups:", "  all:"]
    for number, (name, content) in enumerate(files.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        entry = f"script_path: {name}, port: {5000 + number}, health_check_port: {7000 + number}"
        lines.append(f"    Agent{number}: {{{entry}}}")
    config = folder / "config.yaml"
    config.write_text("\n".join(lines) + "\n")
    fleet = load_fleet([("one", str(config))])
    return audit(fleet, SourceTree(str(root)), settings=Settings(), baseline=Baseline(), today=date(2026, 1, 1))


NAMES = ["a", "b", "BaseAgent", "os", "sys", "Agent0", "common", "x.y", "sys.path", "__file__", "__name__"]
PIECES = st.sampled_from(
    [
        *("import {0}", "from {0} import {1}", "from {0} import *", "from . import {1}", "import {0} as {1}"),
        *(
            "{1} = {0}",
            "{1} = {0}({2})",
            "{1} += {0}",
            "del {1}",
            "class {1}({0}): pass",
            "class {1}({0}, {2}): {0} = {2}",
        ),
        *(
            "def {1}({2}={0}): return {0}",
            "@{0}\ndef {1}(): ...",
            "async def {1}(): await {0}",
            "global {1}",
            "raise {0}",
        ),
        *(
            "try:\n    {0}\nexcept {1}:\n    {2}",
            "try:\n    import {0}\nexcept ImportError:\n    import {1}",
            "assert {0}",
        ),
        *(
            "if {0}:\n    {1}\nelse:\n    {2}",
            "for {1} in {0}: {2}",
            "while {0}: break",
            "with {0} as {1}: {2}",
            "lambda {1}: {0}",
        ),
        *("if __name__ == '__main__':\n    {0}({1})", "sys.path.insert(0, {0})", "sys.path += [{0}, {1} / {2}]"),
        *(
            "importlib.import_module({0})",
            "__import__('{0}')",
            "exec({0})",
            "globals()['{1}'] = {0}",
            "[{0} for {1} in {2}]",
        ),
        *(
            "print(({1} := {0}))",
            "match {0}:\n    case {1}: {2}",
            "type {1} = {0}",
            "x: {0} = {1}",
            "return {0}",
            "{0} = = {1}",
        ),
    ]
)


def fill(piece: str, names: list[str]) -> str:
    plain = [name.replace(".", "_") if "{1} =" in piece else name for name in names]
    for index, name in enumerate(plain):
        piece = piece.replace(f"{{{index}}}", name)
    return piece


STATEMENTS = st.builds(fill, PIECES, st.lists(st.sampled_from(NAMES), min_size=3, max_size=3))
PROGRAMS = st.lists(STATEMENTS, max_size=25).map(lambda lines: "\n".join(lines).encode())
BYTES = st.binary(max_size=400)
TEXT = st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
PATIENT = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@PATIENT
@given(st.lists(st.one_of(PROGRAMS, BYTES, TEXT), min_size=1, max_size=4))
def test_random_files_never_end_the_audit(tmp_path_factory, files):
    names = ["a.py", "b.py", "common/__init__.py", "x/y.py"]
    report = audited(tmp_path_factory.mktemp("random"), dict(zip(names, files)))
    assert report.agents == len(files)
    for finding in report.findings:
        assert finding.line >= 1 and finding.document()["fix"]
    for name, content in zip(names, files):
        refused = any(one.rule == "A-syntax" and one.file == name for one in report.findings)
        try:
            ast.parse(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError, LookupError):
            assert refused


def standard_scripts() -> list[Path]:
    found = [path for path in sorted(STANDARD_LIBRARY.glob("*.py")) if path.name not in LEFT_OUT]
    return found[:: max(1, len(found) // 60)]


def test_the_standard_library_has_no_failing_module(tmp_path):
    """Every module of it can be imported here; so nothing certain may be said against one. Its own
    imports are copied along under another package, which makes them the project's."""
    files = {
        path.name: path.read_bytes() for path in sorted(STANDARD_LIBRARY.glob("*.py")) if path.name not in LEFT_OUT
    }
    report = audited(tmp_path, {f"library/{name}": content for name, content in files.items()})
    certain = [
        one
        for one in report.findings
        if one.risk == "A" and one.severity == "critical" and one.evidence.get("kind") != "relative"
    ]
    assert [(one.file, one.line, one.message) for one in certain] == []


MUTATIONS = [
    lambda text, chance: text[: chance.randrange(len(text) + 1)],
    lambda text, chance: "".join(text.splitlines(keepends=True)[chance.randrange(3) :]),
    lambda text, chance: text.replace("import ", "imp0rt ", 1),
    lambda text, chance: text.replace("    ", "  ", chance.randrange(1, 4)),
    lambda text, chance: text[: len(text) // 2] + chance.choice("\x00\t\"'([{\\#:") + text[len(text) // 2 :],
    lambda text, chance: text.replace("os", "so").replace("sys", "yss"),
]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_sources_never_end_the_audit(tmp_path, seed):
    chance = random.Random(seed)
    files = {}
    for path in standard_scripts():
        damaged = chance.choice(MUTATIONS)(path.read_text(encoding="utf-8", errors="replace")[:20_000], chance)
        files[f"agents/{path.name}"] = damaged.encode("utf-8", "replace")
    report = audited(tmp_path, files)
    for name, content in files.items():
        refused = any(one.rule == "A-syntax" and one.file == name for one in report.findings)
        try:
            compile(content, name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            assert refused
        else:
            assert not refused


def test_what_the_audit_calls_broken_really_breaks(tmp_path):
    """Random small programs, started for real: one that runs to its end has no critical finding."""
    chance = random.Random(7)
    root = tmp_path / "project"
    modules = {
        "kit/__init__.py": "size = 1\n",
        "kit/one.py": "from kit import size\nfrom kit.two import *\n",
        "kit/two.py": "deep = 2\n",
    }
    pieces = [
        *(
            "import os",
            "import sys",
            "import kit",
            "import kit.one",
            "import kit.gone",
            "from kit import one",
            "from kit import none",
        ),
        *(
            "from kit.one import deep",
            "from kit.one import size, deep",
            "print(deep)",
            "print(size)",
            "print(os.sep)",
            "print(sys.argv)",
        ),
        *(
            "class A(one.A if False else object): pass",
            "def f(x=size): return nowhere",
            "x = kit.size",
            "x += 1",
            "x = [y for y in (1,)]",
        ),
        "try:\n    import kit.gone\nexcept ImportError:\n    kit = None",
        "try:\n    from kit.gone import size\nexcept ImportError as error:\n    print(error)",
        "try:\n    from kit.gone import size\nexcept ImportError as error:\n    raise SystemExit(1)",
        "try:\n    import os\n    from kit import none, size\n    import sys\nexcept (ImportError, OSError):\n    deep = 1",
        "try:\n    from kit import size\nexcept ImportError:\n    pass\nelse:\n    import sys\nfinally:\n    import os",
        "try:\n    from kit.gone import x\nexcept ValueError:\n    size = 1\nfinally:\n    import os",
        "try:\n    print(nowhere)\nexcept NameError:\n    nowhere = 1",
        "if __name__ == '__main__':\n    print(size)",
        "def g() -> Optional[int]: ...",
    ]
    programs = {f"p{number}.py": "\n".join(chance.choices(pieces, k=4)) + "\n" for number in range(60)}
    everything = {**modules, **programs}
    report = audited(tmp_path, {name: content.encode() for name, content in everything.items()})
    broken = {one.agent for one in report.findings if one.risk == "A" and one.severity == "critical"}
    driver = textwrap.dedent(
        """
        import runpy, sys
        for name in sys.argv[1:]:
            for module in [module for module in sys.modules if module.partition(".")[0] == "kit"]:
                del sys.modules[module]
            try:
                runpy.run_path(name, run_name="__main__")
            except (Exception, SystemExit) as error:
                print("BROKEN", name, type(error).__name__)
        """
    )
    ran = subprocess.run(
        [sys.executable, "-c", driver, *programs],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    failed = {line.split()[1]: line.split()[2] for line in ran.stdout.splitlines() if line.startswith("BROKEN")}
    position = {name: f"Agent{number}" for number, name in enumerate(everything)}
    assert 10 < len(failed) < 60
    wrongly = [name for name in programs if position[name] in broken and name not in failed]
    assert wrongly == []
    missed = [
        name
        for name, error in failed.items()
        if error in ("ImportError", "ModuleNotFoundError", "NameError", "SystemExit") and position[name] not in broken
    ]
    assert missed == []


def test_a_tree_of_many_links_ends_in_bounded_time(tmp_path):
    root = tmp_path / "project"
    (root / "a").mkdir(parents=True)
    for number in range(40):
        os.symlink("..", root / "a" / f"up{number}")
    os.symlink("/", root / "a" / "everything")
    started = time.monotonic()
    report = audited(
        tmp_path, {"a/run.py": b"import a.up1.a.up2.a.gone\nimport a.everything.etc.gone\n", "gone/x.py": b""}
    )
    assert time.monotonic() - started < 5
    assert report.agents == 2


def test_a_long_chain_of_imports_ends(tmp_path):
    files = {f"chain/m{number}.py": f"import chain.m{number + 1}\n".encode() for number in range(300)}
    report = audited(tmp_path, {"run.py": b"import chain.m0\n", **files})
    assert report.agents == 301


def test_a_long_chain_of_bases_ends(tmp_path):
    files = {
        f"chain/m{number}.py": f"from chain.m{number + 1} import C{number + 1}\nclass C{number}(C{number + 1}): ...\n".encode()
        for number in range(300)
    }
    report = audited(tmp_path, {"run.py": b"from chain.m0 import C0\nC0()\n", **files})
    assert report.agents == 301


def test_deep_statements_end(tmp_path):
    deep = "".join(f"{' ' * level}if x{level}:\n" for level in range(95)) + " " * 95 + "import os\n"
    tries = "".join(f"{' ' * level}try:\n" for level in range(18)) + " " * 18 + "import gone\n"
    tries += "".join(f"{' ' * level}except ImportError: pass\n" for level in reversed(range(18)))
    chain = "x = 1\nif x: pass\n" + "".join(f"elif x == {number}: pass\n" for number in range(900))
    assert (
        audited(tmp_path, {"deep.py": deep.encode(), "tries.py": tries.encode(), "chain.py": chain.encode()}).agents
        == 3
    )
