# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a folder a host root, and what does not."""

from __future__ import annotations

import json

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.host import (
    HostDescription,
    HostError,
    open_host,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors.supervisord import SupervisordSupervisor
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors.systemd import SystemdSupervisor
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner


def opened(root):
    return open_host(str(root), runner=LocalRunner(), clock=SystemClock())


@pytest.mark.parametrize(
    ("kind", "supervisor"), [("supervisord", SupervisordSupervisor), ("systemd", SystemdSupervisor)]
)
def test_a_host_is_put_together_as_described(tmp_path, kind, supervisor):
    description = HostDescription("PC2", {"kind": kind}, "/opt/venv/bin/python", "10.0.0.2")
    (tmp_path / "host.json").write_text(description.to_text())
    host = opened(tmp_path)
    assert (host.name, host.root, host.python, host.address) == (
        "PC2",
        str(tmp_path),
        "/opt/venv/bin/python",
        "10.0.0.2",
    )
    assert isinstance(host.supervisor, supervisor)
    assert host.ledger.entries() == [] and host.lease.live() is None and host.releases.staged() == []
    assert HostDescription.from_text(description.to_text(), "x") == description
    assert json.loads(description.to_text())["format"] == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "not the root of a host. Check continuity_root"),
        ("", "not the description of a host"),
        ("[]", "not the description of a host"),
        ('{"format": 2}', "format 2, expected 1"),
        ('{"format": 1, "host": "PC2"}', "not the description of a host: KeyError"),
        (HostDescription("PC2", {"kind": "upstart"}).to_text(), "unknown supervisor 'upstart'"),
        (HostDescription("PC2", {}).to_text(), "unknown supervisor"),
    ],
)
def test_what_is_no_host_is_said(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "host.json").write_text(content)
    with pytest.raises(HostError, match=sentence):
        opened(tmp_path)
