# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module secret_rotation through Ansible: agents get new values, bad ones are taken back, none is shown."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import pytest
from playbook import Playbook
from secret_site import USERS, Asking, secret_site

COMMAND = Path(sys.executable).with_name("ansible-playbook")
pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="ansible-core is not installed beside this Python")


def test_new_values_reach_agents_or_are_taken_back(tmp_path: Path) -> None:
    good, better, bad = (f"{word}-{secrets.token_hex(12)}" for word in ("good", "good", "bad"))
    with secret_site(good) as site:
        play = Playbook(tmp_path / "play", {"mainpc": {}})
        plain = {"root": site.fleet.root("mainpc"), "directory": str(site.directory), "source": site.box.source}

        def rotate(value: str, *arguments: str) -> tuple[dict, str]:
            declared = site.box.put({"database_password": value, "unused": "x"})
            ran = play.task("secret_rotation", {**plain, "secrets": declared, "healthy_seconds": 2}, *arguments)
            assert not [one for one in (good, better, bad) if one in ran.output]
            return dict(ran.results["mainpc"]), ran.output

        expected, _said = rotate(better, "--check")
        assert set(expected["replaced"]) == set(USERS) and site.values() == [good, good]
        with Asking(site) as asking:
            done, said = rotate(better, "-vvvv", "--diff")
            assert set(done["replaced"]) == set(USERS) and done["away_seconds"] == 0.0 and done["changed"]
            assert "+agent Api: replaced" in said and site.values() == [better, better]
            failed, _said = rotate(bad, "-vvvv", "--diff")
        assert (failed["error_code"], failed["step"]) == ("rotation", "take_back") and "put back" in failed["msg"]
        assert site.values() == [better, better] and asking.lost == []
        assert not rotate(better)[0]["changed"]
