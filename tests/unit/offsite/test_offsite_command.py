# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command offsite, as continuity.pyz runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

pyrage = pytest.importorskip("pyrage", reason="the Python package pyrage is not installed")


@pytest.fixture
def repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    (tmp_path / "tree").mkdir()
    for number in range(4):
        (tmp_path / "tree" / f"{number}.state").write_bytes(os.urandom(1_500_000))
    assert main(["snapshot", "--repository", f"{tmp_path}/repository", "--host", "pc2", f"{tmp_path}/tree"]) == 0
    capsys.readouterr()
    return f"{tmp_path}/repository"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "far").mkdir()
    (tmp_path / "identity").write_text(f"{identity}\n")
    return str(tmp_path / "identity"), str(identity.to_public())


def test_send_verify_and_restore(
    repository: str, keys: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = keys
    far = ["--destination", f"{tmp_path}/far"]
    send = ["offsite", "send", "--repository", repository, "--recipient", public, *far]
    assert main([*send, "--dry-run"]) == 0
    looked = capsys.readouterr().out
    assert looked.count("+ ") == 4 and not list((tmp_path / "far").iterdir())
    assert main([*send, "--format", "json"]) == 0
    sent = json.loads(capsys.readouterr().out)
    assert sent["changed"] and sent["sound"] and len(sent["sent"]) == 4
    assert main(send) == 0
    assert capsys.readouterr().out == "0 sent, 0 withdrawn\n"
    assert main(["offsite", "verify", *far, "--repository", repository]) == 0
    assert main(["offsite", "verify", *far, "--level", "data", "--identity-file", private, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["objects"] == 3
    restore = ["offsite", "restore", *far, "--identity-file", private]
    assert main(restore) == 2
    assert main([*restore, "--target", f"{tmp_path}/target", "--include", f"{tmp_path}/tree/1.state"]) == 0
    assert Path(f"{tmp_path}/target{tmp_path}/tree/1.state").read_bytes() == (tmp_path / "tree/1.state").read_bytes()
    (pack,) = (tmp_path / "far" / "packs").rglob("*.age")
    pack.unlink()
    capsys.readouterr()
    assert main(["offsite", "verify", *far, "--repository", repository]) == 1
    assert "1 faults" in capsys.readouterr().out


def test_documents(keys: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private, public = keys
    (tmp_path / "contract.pdf").write_bytes(b"%PDF")
    far = ["--destination", f"{tmp_path}/far", "--host", "pc2"]
    assert main(["offsite", "send", "--documents", f"{tmp_path}/contract.pdf", "--recipient", public, *far]) == 0
    assert "1 documents in the copy" in capsys.readouterr().out
    back = ["offsite", "restore", "--of-documents", "--identity-file", private, "--target", f"{tmp_path}/target"]
    assert main([*back, *far]) == 0
    assert Path(f"{tmp_path}/target{tmp_path}/contract.pdf").read_bytes() == b"%PDF"


def test_a_full_disk_on_the_far_side_is_said_and_made_up_for(
    repository: str, keys: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory on a file system of 3 MB, which grows afterwards."""
    far = tmp_path / "far"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(far)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0 or shutil.which("mount") is None:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        send = ["offsite", "send", "--repository", repository, "--recipient", keys[1], "--destination", str(far)]
        assert main(send) == 2
        said = capsys.readouterr().err
        assert "No space left on device" in said and str(far) in said and "what was sent is kept" in said
        assert not list(far.rglob("*.age")) and not list(far.rglob(".part-*"))
        subprocess.run(["mount", "-o", "remount,size=30m", str(far)], check=True)
        assert main(send) == 0
        assert main(["offsite", "verify", "--destination", str(far), "--repository", repository]) == 0
    finally:
        subprocess.run(["umount", str(far)], check=True)
