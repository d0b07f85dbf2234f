# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call refuses, before anything is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import offsite
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.modules.offsite import ARGUMENTS

pyrage = pytest.importorskip("pyrage", reason="the Python package pyrage is not installed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repository": "/nonexistent"}, "no repository here"),
        ({}, "Name the repository"),
        ({"repository": "/nonexistent", "recipients": []}, "no public key to encrypt for"),
        ({"repository": "/nonexistent", "recipients": ["age1nonsense"]}, "not a public key"),
        ({"repository": "/nonexistent", "recipients": ["AGE-SECRET-KEY-1QQQQ"]}, "private key, where a public"),
        ({"repository": "/nonexistent", "destination": "ftp://host/path"}, "not a destination"),
        ({"repository": "/nonexistent", "destination": "mnt/disk"}, "named by its whole path. Write /"),
        ({"repository": "/nonexistent", "destination": "/nonexistent?/disk"}, "no repository here"),
        ({"repository": "/nonexistent", "destination": "https://user:password@host/"}, "holds no user, password"),
        ({"repository": "/nonexistent", "destination": "az://c/p"}, "needs credentials"),
        ({"repository": "/nonexistent", "destination": "s3://b", "credentials_file": "/nonexistent"}, "cannot be read"),
        ({"state": "verified"}, "needs an identity"),
        ({"state": "verified", "identity_files": ["/nonexistent"]}, "cannot be read"),
        ({"state": "restored", "content": "documents"}, "Documents are restored to a folder"),
        ({"content": "documents", "sources": ["/nonexistent"]}, "does not exist"),
        ({"content": "documents"}, "no documents to send"),
        ({"repository": "/nonexistent", "parallel": 0}, "At least one object"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    defaults = {name: argument.get("default") for name, argument in ARGUMENTS.items()}
    public = str(pyrage.x25519.Identity.generate().to_public())
    wanted = {**defaults, "destination": str(tmp_path / "copy"), "recipients": [public], "host": "pc2", **options}
    (tmp_path / "copy").mkdir()
    with pytest.raises(ContinuityError) as refused:
        offsite.carry_out(wanted, SystemClock())
    assert said in str(refused.value)
    assert "password@" not in str(refused.value)
    assert not list((tmp_path / "copy").iterdir())
