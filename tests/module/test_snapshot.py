# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore points as an operator takes, looks at, verifies and restores them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playbook import COLLECTIONS, Playbook

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from database_servers import PASSWORD, Redis

COMMAND = Path(sys.executable).with_name("ansible-playbook")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host root with two agents' state, a ledger, a release."""
    root = tmp_path / "root"
    for name in ("state/Twin", "state/Memory", "ledger", "releases/r-1/config"):
        (root / name).mkdir(parents=True)
    (root / "host.json").write_text('{"format": 1, "host": "pc2"}')
    (root / "state/Twin/profile.json").write_text('{"mood": "calm"}')
    (root / "state/Memory/facts.txt").write_text("facts\n" * 100)
    (root / "ledger/ledger.jsonl").write_text("{}\n")
    (root / "releases/r-1/config/startup_config.yaml").write_text("agent_groups: {}\n")
    (root / "current").symlink_to("releases/r-1")
    return root


@pytest.fixture
def play(tmp_path: Path, root: Path) -> Playbook:
    return Playbook(tmp_path / "play", {"pc2": {"continuity_root": str(root)}})


def result(play: Playbook, module: str, *arguments: str, **options: Any) -> dict[str, Any]:
    ran = play.task(module, options, *arguments)
    assert "pc2" in ran.results, ran.output
    return dict(ran.results["pc2"])


def test_a_restore_point_is_looked_at_taken_and_there(play: Playbook, root: Path) -> None:
    wanted = {"root": str(root), "restore_point": "rp-1"}
    looked = result(play, "snapshot", "--check", "--diff", **wanted)
    assert looked["changed"] and looked["snapshot"] is None
    assert not (root / "repository").exists()
    assert f"+ {root}/state/Twin/profile.json\n" in looked["diff"]["prepared"]

    taken = result(play, "snapshot", **wanted)
    assert taken["changed"] and taken["complete"]
    assert taken["snapshot"]["host"] == "pc2" and taken["snapshot"]["restore_point"] == "rp-1"
    assert taken["snapshot"]["sources"] == [f"{root}/ledger", f"{root}/releases/r-1/config", f"{root}/state"]
    assert taken["totals"] == looked["totals"] and taken["totals"]["files"] == 4

    (root / "state/Twin/profile.json").write_text('{"mood": "other"}')
    again = result(play, "snapshot", **wanted)
    assert not again["changed"] and again["snapshot"] == taken["snapshot"]
    looked_again = result(play, "snapshot", "--check", **wanted)
    assert not looked_again["changed"]

    pinned = result(play, "snapshot", **wanted, pin=True)
    assert pinned["changed"] and pinned["snapshot"] == {**taken["snapshot"], "pinned": True}

    listed = result(play, "snapshot_info", repository=f"{root}/repository", restore_point="rp-1")
    assert listed["snapshots"] == [pinned["snapshot"]] and listed["damaged"] == []


def test_what_did_not_change_is_not_taken_again(play: Playbook, root: Path) -> None:
    wanted = {
        "repository": str(root / "elsewhere"),
        "sources": [str(root / "state")],
        "if_changed": True,
        "host": "pc2",
    }
    assert result(play, "snapshot", **wanted)["changed"]
    assert not result(play, "snapshot", "--check", **wanted)["changed"]
    assert not result(play, "snapshot", **wanted)["changed"]
    (root / "state/Memory/facts.txt").write_text("other facts")
    assert result(play, "snapshot", "--check", **wanted)["changed"]
    changed = result(play, "snapshot", "--diff", **wanted)
    assert changed["changed"] and changed["diff"]["prepared"] == f"~ {root}/state/Memory/facts.txt\n"


def test_databases_are_part_of_a_snapshot(play: Playbook, root: Path, tmp_path: Path) -> None:
    server = Redis()
    try:
        password = tmp_path / "password"
        password.write_text(PASSWORD)
        sound = {"name": "cache", "type": "redis", "port": server.port, "password_file": str(password)}
        taken = result(play, "snapshot", root=str(root), databases=[sound])
        assert taken["complete"] and taken["totals"]["files"] == 5
        looked = result(play, "snapshot", "--check", "--diff", root=str(root), databases=[sound])
        assert looked["complete"] and looked["diff"]["prepared"] == f"~ {root}/databases/cache.rdb\n"
        broken = {"name": "orders", "type": "postgresql", "host": "127.0.0.1", "port": 1, "service": "none-such"}
        partly = result(play, "snapshot", root=str(root), databases=[sound, broken])
        assert partly["changed"] and not partly["complete"]
        assert [(one["path"], one["kind"]) for one in partly["problems"]] == [
            (f"{root}/databases/orders.pgdump", "postgresql")
        ]
    finally:
        server.stop()
    assert PASSWORD not in json.dumps([taken, looked, partly])
    refused = result(play, "snapshot", root=str(root), databases=[{**sound, "dbname": "x"}])
    assert refused["failed"] and "dbname is for postgresql only" in refused["msg"]


def test_a_corrupt_document_is_reported(play: Playbook, root: Path) -> None:
    (root / "state/Twin/profile.json").write_text('{"mood": ')
    ran = play.task("snapshot", {"root": str(root)})
    taken = ran.results["pc2"]
    assert taken["changed"] and not taken["complete"]
    assert [(one["path"], one["kind"]) for one in taken["problems"]] == [(f"{root}/state/Twin/profile.json", "json")]
    assert "not valid JSON" in ran.output


def test_files_are_restored_in_place_and_what_they_replace_is_kept(play: Playbook, root: Path) -> None:
    result(play, "snapshot", root=str(root))
    (root / "state/Twin/profile.json").write_text("spoiled")
    (root / "state/Memory/facts.txt").unlink()
    wanted = {"repository": f"{root}/repository", "include": [f"{root}/state/*"]}
    looked = result(play, "restore", "--check", "--diff", **wanted)
    assert looked["changed"] and (root / "state/Twin/profile.json").read_text() == "spoiled"
    done = result(play, "restore", "--diff", **wanted)
    for one in (looked, done):
        assert one["created"] == [f"{root}/state/Memory/facts.txt"]
        assert one["replaced"] == [f"{root}/state/Twin/profile.json"]
        assert one["diff"]["prepared"] == f"+ {root}/state/Memory/facts.txt\n~ {root}/state/Twin/profile.json\n"
    assert json.loads((root / "state/Twin/profile.json").read_text()) == {"mood": "calm"}
    assert [Path(kept).read_text() for kept in done["kept_aside"]] == ["spoiled"]
    again = result(play, "restore", **wanted)
    assert not again["changed"] and again["kept_aside"] == []


def test_verify_is_quiet_about_what_is_sound_and_names_what_is_not(play: Playbook, root: Path) -> None:
    taken = result(play, "snapshot", root=str(root))
    repository = f"{root}/repository"
    sound = result(play, "verify", repository=repository, expected=taken["snapshot"]["digest"])
    assert not sound["failed"] and not sound["changed"] and sound["verified"]["snapshots"] == 1

    (root / "state/Twin/profile.json").write_text('{"mood": "evil"}')
    (root / "state/Memory/added").write_text("")
    tampered = result(play, "verify", repository=repository, target="/")
    assert tampered["failed"] and f"{root}/state/Twin/profile.json: content differs" in tampered["msg"]
    assert tampered["differences"]["added"] == [f"{root}/state/Memory/added"]

    (pack,) = Path(repository, "packs").glob("*/*")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(bytes(content))
    damaged = result(play, "verify", repository=repository)
    assert damaged["failed"] and str(pack) in damaged["damaged"] and str(pack) in damaged["msg"]


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("snapshot", {"repository": "/nonexistent/r"}, "required"),
        (
            "snapshot",
            {"repository": "{tmp}/r", "sources": ["/nonexistent/source"]},
            "does not exist: /nonexistent/source",
        ),
        ("snapshot", {"root": "{tmp}"}, "nothing to take a snapshot of"),
        ("snapshot", {"repository": "{tmp}/r", "sources": ["{tmp}"], "host": "../up"}, "cannot be the name of a host"),
        ("snapshot_info", {"repository": "{tmp}"}, "no repository here"),
        ("restore", {"repository": "{tmp}"}, "no repository here"),
        ("restore", {"repository": "{root}/repository", "snapshot": "rp-none"}, "no snapshot 'rp-none'"),
        ("restore", {"repository": "{root}/repository", "include": ["/other"]}, "Nothing in this snapshot matches"),
        ("verify", {"repository": "{root}/repository", "snapshots": ["ffffffff"]}, "no snapshot 'ffffffff'"),
        ("verify", {"repository": "{root}/repository", "expected": "ab" * 32}, "was taken away"),
    ],
)
def test_what_cannot_be_done_is_said(
    play: Playbook, root: Path, tmp_path: Path, module: str, options: dict[str, Any], said: str
) -> None:
    if "{root}" in str(options):
        result(play, "snapshot", root=str(root))
    (tmp_path / "empty").mkdir()
    places = {"{tmp}": str(tmp_path / "empty"), "{root}": str(root)}
    filled = json.loads(_fill(json.dumps(options), places))
    refused = result(play, module, **filled)
    assert refused["failed"] and said in refused["msg"], refused["msg"]


def _fill(text: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        text = text.replace(name, place)
    return text


def playbook(play: Playbook, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "-i", play.folder / "inventory.json", name, *arguments],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_role_and_the_playbooks(play: Playbook, root: Path, tmp_path: Path) -> None:
    point = tmp_path / "point.yml"
    point.write_text(
        "- hosts: all\n  gather_facts: false\n  roles: [fleetops.continuity.snapshot]\n"
        "  vars: {snapshot_restore_point: rp-7, continuity_host: pc2}\n"
    )
    everybody = ("-e", "restore_hosts=all", "-e", "verify_hosts=all")
    looked = playbook(play, str(point), "--check")
    assert looked.returncode == 0 and "changed=1" in looked.stdout, looked.stdout
    assert not (root / "repository").exists()
    taken = playbook(play, str(point))
    assert taken.returncode == 0 and "changed=1" in taken.stdout, taken.stdout
    again = playbook(play, str(point))
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout
    (root / "state/Twin/profile.json").unlink()
    (root / "ledger/ledger.jsonl").write_text("{}\n{}\n")
    restored = playbook(play, "fleetops.continuity.restore", "-e", "restore_snapshot=rp-7", *everybody)
    assert restored.returncode == 0 and "1 created, 0 replaced" in restored.stdout, restored.stdout
    assert (root / "state/Twin/profile.json").exists()
    assert (root / "ledger/ledger.jsonl").read_text() == "{}\n{}\n", "what the host runs now"
    named = json.dumps({"restore_include": [str(root / "ledger")]})
    restored = playbook(play, "fleetops.continuity.restore", "-e", "restore_snapshot=rp-7", "-e", named, *everybody)
    assert restored.returncode == 0 and "1 replaced" in restored.stdout, restored.stdout
    assert (root / "ledger/ledger.jsonl").read_text() == "{}\n"
    aside = tmp_path / "aside"
    all_of_it = ("-e", f"restore_target={aside}", *everybody)
    restored = playbook(play, "fleetops.continuity.restore", "-e", "restore_snapshot=rp-7", *all_of_it)
    assert restored.returncode == 0, restored.stdout
    assert (aside / str(root).lstrip("/") / "ledger/ledger.jsonl").exists()
    verified = playbook(play, "fleetops.continuity.verify", *everybody)
    assert verified.returncode == 0 and "1 snapshots, 4 files" in verified.stdout, verified.stdout


def test_playbooks_open_an_encrypted_repository(play: Playbook, root: Path, tmp_path: Path) -> None:
    pyrage = pytest.importorskip("pyrage", reason="encryption needs pyrage")
    pytest.importorskip("cryptography", reason="encryption needs cryptography")
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{key}\n")
    whole = tmp_path / "whole.yml"
    whole.write_text(
        "- hosts: all\n  gather_facts: false\n  roles: [fleetops.continuity.snapshot]\n"
        + "".join(f"- import_playbook: fleetops.continuity.{name}\n" for name in ("verify", "scrub", "restore"))
    )
    told = {
        "continuity_host": "pc2",
        "continuity_backup_recipients": [str(key.to_public())],
        "continuity_identity_files": [str(tmp_path / "identity")],
        "restore_target": str(tmp_path / "aside"),
        **{f"{name}_hosts": "all" for name in ("verify", "scrub", "restore")},
    }
    done = playbook(play, str(whole), "-e", json.dumps(told))
    assert done.returncode == 0, done.stdout
    assert b"aes-256-gcm" in (root / "repository/config.json").read_bytes()
    assert (tmp_path / "aside" / str(root).lstrip("/") / "ledger/ledger.jsonl").exists()
