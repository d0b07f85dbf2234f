# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports point one way: modules, wiring, engine packages, and from those only the shared ones."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
PLUGINS = CHECKOUT / "plugins"
ENGINE = PLUGINS / "module_utils"
COLLECTION = "ansible_collections.fleetops.continuity.plugins"
SHARED = {"fleet", "journal", "errors", "effects"}
"""What every engine package may import, beside itself."""
CONTRACTS = {"age_keys": {"repository", "offsite", "secrets"}, "source": {"repository", "sources"}, "host": {"rollout"}}
"""Single files that stand between packages, and the packages that may import them."""
COMPOSERS = {"composition", "host"}
"""What puts the real parts together: it may import any package of the engine."""
BEYOND_PYTHON = {"yaml", "zmq"}
"""Libraries of a host that the engine may use."""

ENGINE_FILES = sorted(ENGINE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The engine package, or single file, that a path belongs to."""
    relative = path.relative_to(ENGINE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(path: Path) -> list[tuple[int, str]]:
    """Every imported name of a file, absolute; relative ones resolved to the collection's own paths."""
    package = [*COLLECTION.split("."), *path.relative_to(PLUGINS).with_suffix("").parts]
    names = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            names += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return names


@pytest.mark.parametrize("path", ENGINE_FILES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_engine_imports(path: Path) -> None:
    own = part_of(path)
    wrong = []
    for line, name in imported(path):
        top = name.split(".")[0]
        if name.startswith(f"{COLLECTION}.module_utils."):
            target = name[len(f"{COLLECTION}.module_utils.") :].split(".")[0]
            allowed = target in SHARED or own in CONTRACTS.get(target, ())
            if own != target and own not in COMPOSERS and (not allowed or (own in SHARED and target not in SHARED)):
                wrong.append(f"line {line}: {own} imports {target}")
        elif top == "ansible":
            if own != "wiring":
                wrong.append(f"line {line}: {name}: only wiring.py knows Ansible")
        elif top not in sys.stdlib_module_names and top not in BEYOND_PYTHON:
            wrong.append(f"line {line}: {name} is neither Python's nor ours")
    assert wrong == []


@pytest.mark.parametrize("path", sorted((PLUGINS / "modules").glob("*.py")), ids=lambda path: path.stem)
def test_modules_import_only_the_engine(path: Path) -> None:
    outside = [
        f"line {line}: {name}"
        for line, name in imported(path)
        if not name.startswith(f"{COLLECTION}.module_utils.") and name.split(".")[0] not in sys.stdlib_module_names
    ]
    assert outside == []


@pytest.mark.parametrize("path", ENGINE_FILES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_engine_starts_no_program_and_prints_nothing(path: Path) -> None:
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "breakpoint"):
            wrong.append(f"line {node.lineno}: {node.func.id}")
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
        ):
            reraises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if not reraises:
                wrong.append(f"line {node.lineno}: a catch-all that does not raise again")
    wrong += [f"line {line}: {name}" for line, name in imported(path) if name.split(".")[0] == "subprocess"]
    assert wrong == []


def test_no_cycle_between_files() -> None:
    module_of = {
        f"{COLLECTION}.{'.'.join(path.relative_to(PLUGINS).with_suffix('').parts)}": path for path in ENGINE_FILES
    }
    edges = {
        name: {
            target
            for _line, imports in imported(path)
            for target in (imports, imports.rpartition(".")[0])
            if target in module_of
        }
        - {name}
        for name, path in module_of.items()
    }
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(name.removeprefix(f"{COLLECTION}.module_utils.") for name in error.args[1]))
