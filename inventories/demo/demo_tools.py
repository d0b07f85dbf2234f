# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo needs to run: an environment, the collection importable, programs with a log."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Optional, Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENTS = CHECKOUT / "tests/requirements-run.txt"
NEEDED = ("ansible", "supervisor", "yaml", "zmq")
LONGEST_SECONDS = 300.0


class DemoFailed(Exception):
    """A step did not show what it was to show."""

    def __init__(self, what: str, *, log: Optional[Path] = None, command: Optional[str] = None) -> None:
        super().__init__(what)
        self.log = log
        self.command = command


def has_all() -> bool:
    return all(importlib.util.find_spec(name) for name in NEEDED)


def make_environment(folder: Path) -> Path:
    """A virtual environment with what the demo needs, by uv where there is one; returns its Python."""
    python = folder / "venv/bin/python"
    with (folder / "tools.log").open("w") as output:
        for command in _commands(folder / "venv", python):
            if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode:
                raise DemoFailed(
                    "the environment could not be made", log=folder / "tools.log", command=shlex.join(command)
                )
    return python


def _commands(folder: Path, python: Path) -> list[list[str]]:
    if shutil.which("uv"):
        return [
            ["uv", "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)],
            ["uv", "pip", "install", "--quiet", "--python", str(python), "--requirement", str(REQUIREMENTS)],
        ]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-m", "venv", str(folder)], [*pip, "--requirement", str(REQUIREMENTS)]]


class Tools:
    """Programs run with the demo's environment; each writes a log of its own below the demo folder."""

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self.folder = folder
        self._note = note
        self.last_command = ""
        collections = folder / "collections"
        link = collections / "ansible_collections/fleetops/continuity"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(CHECKOUT)
        sys.path.insert(0, str(collections))
        self.variables = {
            "CONTINUITY_DEMO": str(folder),
            "CONTINUITY_DEMO_NET": os.environ.get("CONTINUITY_DEMO_NET", "127.77.0"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(folder / "ansible/tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.logs = folder / "demo-logs"
        self.logs.mkdir(exist_ok=True)

    def program(self, name: str) -> str:
        return str(Path(sys.executable).parent / name)

    def start(self, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.variables},
                start_new_session=True,
            )

    def run(self, name: str, arguments: Sequence[str], *, expected: Sequence[int] = (0,)) -> str:
        """What the program wrote; DemoFailed when it ends with another status, or not in time."""
        log = self.logs / f"{name}.log"
        command = " ".join(
            [*(f"{key}={shlex.quote(value)}" for key, value in self.variables.items()), shlex.join(arguments)]
        )
        self.last_command = command
        process = self.start(arguments, log)
        deadline = time.monotonic() + LONGEST_SECONDS
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise DemoFailed(f"{name} did not end within {LONGEST_SECONDS:g} s", log=log, command=command)
                time.sleep(0.2)
                self._note(_last_task(log))
        finally:
            if process.poll() is None:
                _end_group(process)
        if process.returncode not in expected:
            raise DemoFailed(f"{name} ended with status {process.returncode}", log=log, command=command)
        return log.read_text(encoding="utf-8", errors="replace")

    def playbook(self, name: str, playbook: str, *extra: str, expected: Sequence[int] = (0,)) -> str:
        inventory = str(CHECKOUT / "inventories/demo/hosts.fleet.yml")
        command = [self.program("ansible-playbook"), f"fleetops.continuity.{playbook}", "-i", inventory, *extra]
        return self.run(name, command, expected=expected)

    def module(self, name: str, module: str, options: str) -> str:
        inventory = str(CHECKOUT / "inventories/demo/hosts.fleet.yml")
        command = [
            self.program("ansible"),
            "fleet",
            "-i",
            inventory,
            "-m",
            f"fleetops.continuity.{module}",
            "-a",
            options,
        ]
        return self.run(name, command)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a program of ours together with the modules that it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_task(log: Path) -> str:
    with log.open("rb") as output:
        output.seek(max(0, log.stat().st_size - 8192))
        lines = output.read().decode(errors="replace").splitlines()
    tasks = [line.partition("[")[2].partition("]")[0] for line in lines if line.startswith("TASK [")]
    return tasks[-1].rpartition(" : ")[2] + " ..." if tasks else ""
