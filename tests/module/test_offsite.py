# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies in another place as an operator makes, proves and uses them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playbook import Playbook

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testbed"))
from object_servers import SERVERS, Server, UnavailableError

pyrage = pytest.importorskip("pyrage", reason="the Python package pyrage is not installed")


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    try:
        with SERVERS[request.param](tmp_path) as started:
            yield started
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("state/Twin", "state/Memory", "documents"):
        (root / name).mkdir(parents=True)
    (root / "host.json").write_text('{"format": 1, "host": "pc2"}')
    (root / "state/Twin/profile.json").write_text('{"mood": "calm"}')
    (root / "state/Memory/facts.bin").write_bytes(os.urandom(3_000_000))
    (root / "documents/contract.md").write_text("between us\n")
    (root / "documents/offer.pdf").write_bytes(b"%PDF-1.4\n")
    (root / "documents/design.md").write_text("# Design\n")
    (root / "documents/photo.jpg").write_bytes(b"no document")
    return root


@pytest.fixture
def identity(tmp_path: Path) -> tuple[str, str]:
    """(file with the private key, public key)"""
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"# made for a test\n{key}\n")
    return str(tmp_path / "identity"), str(key.to_public())


@pytest.fixture
def play(tmp_path: Path, root: Path) -> Playbook:
    return Playbook(tmp_path / "play", {"pc2": {"continuity_root": str(root)}})


def result(play: Playbook, module: str, *arguments: str, **options: Any) -> dict[str, Any]:
    ran = play.task(module, options, *arguments)
    assert "pc2" in ran.results, ran.output
    return dict(ran.results["pc2"])


@pytest.mark.parametrize("server", ["s3"], indirect=True)
def test_restore_points_are_sent_verified_and_restored(
    play: Playbook, root: Path, server: Server, identity: tuple[str, str], tmp_path: Path
) -> None:
    private, public = identity
    taken = result(play, "snapshot", root=str(root), restore_point="rp-1")
    far = {"destination": server.url, **server.options}
    wanted = {**far, "repository": f"{root}/repository", "recipients": [public]}

    looked = result(play, "offsite", "--check", "--diff", **wanted)
    assert looked["changed"] and looked["diff"]["prepared"].startswith("+ packs/")
    sent = result(play, "offsite", **wanted)
    assert sent["changed"] and sent["sent"] == looked["sent"] and not sent["withdrawn"]
    assert not result(play, "offsite", **wanted)["changed"]

    proven = {**far, "identity_files": [private], "level": "data", "expected": taken["snapshot"]["digest"]}
    data = result(play, "offsite", state="verified", **proven)
    assert not data["failed"] and not data["changed"] and data["objects"] == len(sent["sent"]) - 1

    (root / "state/Twin/profile.json").write_text("spoiled")
    back = {**far, "identity_files": [private], "snapshot": "rp-1", "include": [f"{root}/state/Twin"]}
    seen = result(play, "offsite", "--check", "--diff", state="restored", **back)
    assert seen["changed"] and (root / "state/Twin/profile.json").read_text() == "spoiled"
    done = result(play, "offsite", "--diff", state="restored", **back)
    assert done["restored"] == seen["restored"] == [f"{root}/state/Twin/profile.json"]
    assert done["diff"] == seen["diff"] and done["snapshot"] == taken["snapshot"]["id"]
    assert json.loads((root / "state/Twin/profile.json").read_text()) == {"mood": "calm"}
    assert not result(play, "offsite", state="restored", **back)["changed"]


@pytest.mark.parametrize("server", ["directory"], indirect=True)
def test_documents_are_sorted_sent_verified_and_restored(
    play: Playbook, root: Path, server: Server, identity: tuple[str, str], tmp_path: Path
) -> None:
    private, public = identity
    far = {"content": "documents", "destination": server.url, "root": str(root), **server.options}
    wanted = {**far, "sources": [f"{root}/documents"], "recipients": [public]}
    looked = result(play, "offsite", "--check", "--diff", **wanted)
    sent = result(play, "offsite", **wanted)
    paths = [f"{root}/documents/{name}" for name in ("contract.md", "design.md", "offer.pdf")]
    assert looked["changed"] and sent["changed"] and sent["sent"] == looked["sent"] == paths
    assert sent["count"] == 3 and [(one["path"], one["kind"]) for one in sent["files"]] == list(
        zip(paths, ("legal", "technical", "legal"))
    )
    again = result(play, "offsite", **wanted)
    assert not again["changed"] and again["sent"] == [] and again["files"] == sent["files"]

    (root / "documents/design.md").write_text("# Another\n")
    assert result(play, "offsite", **wanted)["sent"] == [paths[1]]
    data = result(play, "offsite", state="verified", level="data", identity_files=[private], **far)
    assert not data["failed"] and data["objects"] == 3
    back = {**far, "identity_files": [private], "target": str(tmp_path / "target")}
    done = result(play, "offsite", state="restored", **back)
    assert done["restored"] == paths
    assert Path(f"{tmp_path}/target{paths[1]}").read_text() == "# Another\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"state": "verified"}, "needs an identity"),
        ({"repository": "/nonexistent", "destination": "https://user:password@host/"}, "holds no user, password"),
    ],
)
def test_what_cannot_be_done_is_said(
    play: Playbook, identity: tuple[str, str], tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    (tmp_path / "copy").mkdir()
    wanted = {"destination": str(tmp_path / "copy"), "recipients": [identity[1]], **options}
    refused = result(play, "offsite", **wanted)
    assert refused["failed"] and said in refused["msg"], refused["msg"]
    assert "password@" not in json.dumps(refused["msg"])
