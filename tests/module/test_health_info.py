# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""health_info through ansible-playbook, against real sockets and a host root with a confirmed release."""

from __future__ import annotations

import hashlib
import http.server
import json
import sys
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from playbook import Playbook

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import Probe, SystemClock, Unit
from ansible_collections.fleetops.continuity.plugins.module_utils.host import HostDescription, open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.model import Release, ReleasedAgent
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_archive import pack
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_document import (
    document_digest,
    to_document,
)
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"status": "degraded", "ready": True, "error_count": 3}).encode()
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused: object) -> None:
        return


@pytest.fixture
def target() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ask(folder: Path, options: dict[str, Any], *arguments: str) -> dict[str, Any]:
    return dict(Playbook(folder, {"mainpc": {}}).task("health_info", options, *arguments).results["mainpc"])


def test_given_probes(tmp_path, target):
    probes = [
        {"agent": "Api", "kind": "http", "target": target},
        {"agent": "Lost", "kind": "http", "target": target, "path": "/elsewhere"},
        {"agent": "Command", "kind": "command", "argv": [sys.executable, "-c", "print('ok')"], "timeout": 10},
        {"agent": "File", "kind": "file_age", "target": str(tmp_path / "none")},
    ]
    result = ask(tmp_path, {"probes": probes, "deadline": 15}, "--check", "--diff")
    assert result["changed"] is False
    assert {name: answer["status"] for name, answer in result["agents"].items()} == {
        "Api": "degraded",
        "Lost": "unknown",
        "Command": "healthy",
        "File": "unhealthy",
    }
    assert (result["agents"]["Api"]["errors"], result["agents"]["Api"]["word"]) == (3, "degraded")
    assert result["counts"] == {"healthy": 1, "degraded": 1, "unhealthy": 1, "unknown": 1}
    only = ask(tmp_path, {"probes": probes, "agents": ["Api"]})
    assert list(only["agents"]) == ["Api"]
    unknown = ask(tmp_path, {"probes": probes, "agents": ["Nobody"]})
    assert unknown["failed"]
    assert unknown["msg"].startswith("there is no probe for Nobody. Choose from Api")


def test_root_or_probes(tmp_path):
    assert "one of the following is required: root, probes" in ask(tmp_path, {})["msg"]
    assert "mutually exclusive" in ask(tmp_path, {"root": str(tmp_path), "probes": []})["msg"]
    assert "not the root of a host" in ask(tmp_path, {"root": str(tmp_path)})["msg"]


def test_probes_of_the_current_release(tmp_path, target):
    root = tmp_path / "root"
    root.mkdir()
    (root / "host.json").write_text(HostDescription("MainPC", {"kind": "supervisord"}, sys.executable).to_text())
    assert ask(tmp_path / "play", {"root": str(root)})["agents"] == {}
    agent = ReleasedAgent(
        "Api", "api.py", "f" * 64, Unit("Api", "state/Api", "logs/Api.log"), Probe("Api", "http", target)
    )
    script = b"#!/bin/sh\n"
    files = {"units/Api": {"sha256": hashlib.sha256(script).hexdigest(), "size": len(script), "mode": 0o755}}
    document = to_document(Release("r-1", "MainPC", "", {"Api": agent}, files))
    document = {**document, "digest": document_digest(document)}
    (tmp_path / "archive").write_bytes(pack(document, {"units/Api": script}))
    host = open_host(str(root), runner=LocalRunner(), clock=SystemClock())
    host.releases.stage(str(tmp_path / "archive"), document["digest"])
    common = {"run": "run1", "plan": "p", "release": "r-1"}
    host.ledger.append("staged", request="q", previous=None, digest=document["digest"], **common)
    host.ledger.append("confirmed", seconds=1.0, **common)
    result = ask(tmp_path / "play", {"root": str(root)})
    assert result["release"] == "r-1"
    assert result["agents"]["Api"]["status"] == "degraded"
    assert "Choose from Api" in ask(tmp_path / "play", {"root": str(root), "agents": ["Web"]})["msg"]
