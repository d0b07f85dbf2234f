# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd supervisor against a real systemd: this machine's where it is PID 1 and we are root, else that
of the podman container which CONTINUITY_SYSTEMD_HOST names."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.fleetops.continuity.plugins.plugin_utils import zipapp

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures" / "supervised"
SCENARIOS = re.findall(
    r"^    (\w+),$", (HERE / "scenarios.py").read_text().partition("\nSCENARIOS = (")[2], re.MULTILINE
)


@pytest.fixture(scope="module")
def command() -> Iterator[list[str]]:
    """How a scenario is run on the host, to be completed by its name."""
    container = os.environ.get("CONTINUITY_SYSTEMD_HOST")
    own = Path("/proc/1/comm").read_text().strip() == "systemd" and os.geteuid() == 0
    if not container and not own:
        pytest.skip("PID 1 is not systemd (or we are not root), and CONTINUITY_SYSTEMD_HOST names no container")
    with tempfile.TemporaryDirectory(prefix="continuity-scenarios-") as folder:
        (Path(folder) / "continuity.pyz").write_bytes(zipapp.build())
        for source in (HERE / "scenarios.py", FIXTURES / "http_agent.py", FIXTURES / "load.py"):
            (Path(folder) / source.name).write_bytes(source.read_bytes())
        environment = ["env", f"PYTHONPATH={folder}/continuity.pyz", "PYTHONDONTWRITEBYTECODE=1", "python3"]
        if not container:
            yield [*environment, f"{folder}/scenarios.py"]
            return
        subprocess.run(["podman", "cp", folder, f"{container}:/tmp/"], check=True)
        try:
            yield ["podman", "exec", container, *environment, f"{folder}/scenarios.py"]
        finally:
            subprocess.run(["podman", "exec", container, "rm", "-r", folder], check=True)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_systemd(command: list[str], scenario: str) -> None:
    ended = subprocess.run([*command, scenario], capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    print(scenario, ended.stdout)
