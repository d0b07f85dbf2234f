# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one task on local hosts through ansible-playbook, and gives back what it returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

COLLECTIONS = Path(__file__).resolve().parents[2] / ".cache" / "collections"


@dataclass(frozen=True)
class Ran:
    """``results`` maps a host to what its task returned; ``output`` is what the operator saw."""

    status: int
    output: str
    results: Mapping[str, Mapping[str, Any]]


class Playbook:
    """An inventory of local hosts in ``folder``."""

    def __init__(self, folder: Path, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory = {"all": {"vars": common, "hosts": {name: dict(values) for name, values in hosts.items()}}}
        (folder / "inventory.json").write_text(json.dumps(inventory))

    def task(self, module: str, options: Mapping[str, Any], *arguments: str) -> Ran:
        """Run the module on every host. A failing task is a result like any other."""
        tasks = [
            {f"fleetops.continuity.{module}": dict(options), "register": "result", "ignore_errors": True},
            {
                "ansible.builtin.copy": {
                    "content": "{{ result | to_json }}",
                    "dest": f"{self.folder}/result-{{{{ inventory_hostname }}}}.json",
                },
                "check_mode": False,
                "diff": False,
                "delegate_to": "localhost",
            },
        ]
        (self.folder / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_DEPRECATION_WARNINGS": "1",
        }
        ran = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "--inventory",
                str(self.folder / "inventory.json"),
                *arguments,
                str(self.folder / "play.json"),
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        output = ran.stdout + ran.stderr
        results = {}
        for path in self.folder.glob("result-*.json"):
            results[path.stem.partition("-")[2]] = json.loads(path.read_text())
            path.unlink()
        return Ran(ran.returncode, output, results)
