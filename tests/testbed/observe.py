# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host and prints what is really there, as JSON: processes, sockets, links, ledger, answers.

It shares no code with the collection, so that the tests see the host and not what we think of it.
Its argument is the host root.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LISTENING = "0A"


def processes(root: Path) -> list[dict[str, Any]]:
    """Every process whose environment says that it is an agent of this root."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        environment = dict(word.split("=", 1) for word in words if "=" in word)
        if environment.get("AGENT_STATE_DIR", "").startswith(f"{root}/"):
            found.append(
                {
                    "pid": int(folder.name),
                    "agent": environment["AGENT_NAME"],
                    "release": environment["AGENT_RELEASE"],
                    "directory": os.readlink(folder / "cwd"),
                }
            )
    return found


def listening() -> list[str]:
    """Every ``address:port`` on which something accepts TCP over IPv4."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        if state == LISTENING:
            address, port = local.split(":")
            found.append(f"{socket.inet_ntoa(bytes.fromhex(address)[::-1])}:{int(port, 16)}")
    return found


def links(root: Path) -> dict[str, dict[str, str]]:
    """Agent to slot to the release that it points at."""
    found: dict[str, dict[str, str]] = {}
    for link in (root / "agents").glob("*/*"):
        if link.is_symlink():
            found.setdefault(link.parent.name, {})[link.name] = Path(os.readlink(link)).name
    return found


def ledger(root: Path) -> list[dict[str, Any]]:
    path = root / "ledger/ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def answer(probe: dict[str, Any]) -> str:
    """What an agent says when it is asked as its release says that it is to be asked."""
    kind = probe["kind"]
    host, _colon, port = probe["target"].rpartition(":")
    try:
        if kind == "http":
            with urllib.request.urlopen(f"http://{probe['target']}{probe['path']}", timeout=10) as response:
                return response.read().decode()
        if kind == "zmq":
            import zmq

            with zmq.Context() as context, context.socket(zmq.REQ) as asker:
                asker.linger, asker.rcvtimeo, asker.sndtimeo = 0, 10_000, 10_000
                asker.connect(f"tcp://{probe['target']}")
                asker.send_string(probe["request"])
                return asker.recv().decode()
        if kind == "tcp":
            with socket.create_connection((host, int(port)), timeout=10):
                return "connected"
    except urllib.error.HTTPError as error:
        return f"error: {error.code} {error.read().decode(errors='replace')}"
    except (OSError, ValueError) as error:
        return f"error: {error!r}"
    return f"error: no way to ask by {kind}"


def main(root: Path) -> None:
    releases = {path.parent.name: json.loads(path.read_text()) for path in (root / "releases").glob("*/release.json")}
    entries = ledger(root)
    confirmed = [entry["release"] for entry in entries if entry["event"] == "confirmed"]
    current = os.readlink(root / "current").rpartition("/")[2] if (root / "current").is_symlink() else None
    agents = releases[current]["agents"] if current in releases else {}
    with ThreadPoolExecutor(16) as pool:
        answers = dict(zip(agents, pool.map(lambda agent: answer(agent["probe"]), agents.values())))
    json.dump(
        {
            "processes": processes(root),
            "listening": listening(),
            "links": links(root),
            "ledger": entries,
            "confirmed": confirmed[-1] if confirmed else None,
            "current": current,
            "releases": sorted(releases),
            "agents": agents,
            "answers": answers,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
