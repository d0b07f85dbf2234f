# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""secret_rotation and the playbook secrets: agents get new values, bad ones are taken back, none is shown."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playbook import Playbook
from secret_site import USERS, Asking, Site, secret_site

COMMAND = Path(sys.executable).with_name("ansible-playbook")
pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="ansible-core is not installed beside this Python")
GOOD, BETTER, BAD = (f"{word}-{secrets.token_hex(12)}" for word in ("good", "good", "bad"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with secret_site(GOOD) as made:
        yield made


def play(site: Site, name: str, value: str, *arguments: str, **source: str) -> tuple[int, str]:
    """Run a playbook on the fleet; its status and what it said, in which no value may stand."""
    declared = site.box.put({"database_password": value, "unused": "x"})
    site.fleet.write_inventory(
        continuity_secrets=declared,
        continuity_secrets_source={**site.box.source, **source},
        continuity_secrets_directory=str(site.directory),
    )
    environment = {**site.fleet.environment(), "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    command = site.fleet.command(name, *arguments)
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    said = ended.stdout + ended.stderr
    assert not [one for one in (GOOD, BETTER, BAD) if one in said]
    return ended.returncode, said


def test_the_playbook_gives_agents_new_values(site: Site) -> None:
    with Asking(site) as asking:
        status, said = play(site, "secrets", BETTER, "-vvvv", "--diff")
    assert status == 0 and site.values() == [BETTER, BETTER] and asking.lost == [], said
    assert "agents replaced: Base, Api" in said or "agents replaced: Api, Base" in said, said
    status, said = play(site, "secrets", BETTER)
    assert status == 0 and "changed=1" not in said and "agents replaced: none" in said, said


def test_values_that_agents_do_not_bear_are_taken_back(site: Site, tmp_path: Path) -> None:
    options = {
        "root": site.fleet.root("mainpc"),
        "directory": str(site.directory),
        "source": site.box.source,
        "secrets": site.box.put({"database_password": BAD, "unused": "x"}),
        "healthy_seconds": 2,
    }
    task = Playbook(tmp_path / "play", {"mainpc": {}})
    expected = task.task("secret_rotation", options, "--check").results["mainpc"]
    assert set(expected["replaced"]) == set(USERS) and expected["changed"]
    with Asking(site) as asking:
        ran = task.task("secret_rotation", options, "-vvvv", "--diff")
    failed = ran.results["mainpc"]
    assert (failed["error_code"], failed["step"]) == ("rotation", "take_back") and "put back" in failed["msg"]
    assert site.values() == [BETTER, BETTER] and asking.lost == []
    assert not [one for one in (GOOD, BETTER, BAD) if one in ran.output]


def test_a_rollout_stops_before_it_begins_when_a_secret_cannot_be_had(site: Site) -> None:
    site.fleet.change("Sink", note="2")
    status, said = play(site, "rollout", BETTER, "--skip-tags", "audit", file="/nonexistent/secrets.age")
    assert status != 0 and "the file cannot be read" in said, said
    assert site.fleet.notes()["Sink"] == "1" and site.values() == [BETTER, BETTER]
    assert site.fleet.open("pc2").ledger.state().unfinished is None
