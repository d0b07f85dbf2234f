# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""continuity.pyz: the same bytes each time, complete, and at home in the oldest Python that hosts have."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.plugin_utils import zipapp
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import COMMANDS


def oldest_python():
    """A Python 3.9 that really starts (a version manager may have put an empty shell on the path)."""
    found = [shutil.which("python3.9"), *map(str, Path.home().glob(".pyenv/versions/3.9.*/bin/python"))]
    for python in filter(None, found):
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return None


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("zipapp") / "continuity.pyz"
    path.write_bytes(zipapp.build())
    return path


def run(python, program, *arguments):
    return subprocess.run(
        [python, "-I", str(program), *arguments], capture_output=True, text=True, check=False, cwd="/", timeout=60
    )


@pytest.mark.parametrize("bytecode", [False, True])
def test_the_bytes_are_the_same_in_another_process_and_another_zone(bytecode):
    code = (
        "import hashlib; from ansible_collections.fleetops.continuity.plugins.plugin_utils import zipapp;"
        f"print(hashlib.sha256(zipapp.build(bytecode={bytecode})).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                "TZ": zone,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for zone, seed in (("UTC", "1"), ("Asia/Tokyo", "2"))
    }
    assert len(seen) == 1


def test_with_bytecode_it_runs_with_any_python(tmp_path):
    program = tmp_path / "continuity.pyz"
    program.write_bytes(zipapp.build(bytecode=True))
    for python in filter(None, (sys.executable, oldest_python())):
        ran = run(python, program, "verify", "--help")
        assert ran.returncode == 0, ran.stderr


def test_it_holds_the_engine_and_nothing_of_ansible():
    names = zipfile.ZipFile(io.BytesIO(zipapp.build())).namelist()
    assert f"{zipapp.INSIDE}/module_utils/host.py" in names
    assert not [name for name in names if name.endswith("wiring.py") or "/modules/" in name or "/action/" in name]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(program, command):
    ran = run(sys.executable, program, command, "--help")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"usage: continuity {command}")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_at_home_in_the_oldest_python(program, command):
    python = oldest_python()
    if python is None:
        pytest.skip("there is no Python 3.9 on this machine")
    ran = run(python, program, command, "--help")
    assert ran.returncode == 0, ran.stderr


def test_the_whole_engine_can_be_imported_by_the_oldest_python(program):
    python = oldest_python()
    if python is None:
        pytest.skip("there is no Python 3.9 on this machine")
    names = [
        name[: -len(".py")].replace("/", ".").removesuffix(".__init__")
        for name in zipfile.ZipFile(program).namelist()
        if name.startswith(zipapp.INSIDE) and name.endswith(".py")
    ]
    code = "import importlib, sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/bundled']\n" + "\n".join(
        f"importlib.import_module({name!r})" for name in names
    )
    ran = subprocess.run([python, "-I", "-c", code, str(program)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("unbuffered", [(), ("-u",)])
def test_output_that_cannot_be_written_is_said(program, unbuffered):
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = subprocess.run(
            [sys.executable, *unbuffered, str(program), "audit", "--config", f"pc2={os.devnull}"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 2
    assert ended.stderr == "continuity audit: the output cannot be written: No space left on device\n"
