# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums as an operator writes and verifies them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playbook import Playbook


def result(play: Playbook, *arguments: str, **options: Any) -> dict[str, Any]:
    ran = play.task("checksum", options, *arguments)
    assert "pc2" in ran.results, ran.output
    return dict(ran.results["pc2"])


def test_checksums_are_looked_at_written_and_verified(tmp_path: Path) -> None:
    play = Playbook(tmp_path / "play", {"pc2": {}})
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "report.pdf").write_text("report")
    (folder / "contract.pdf").write_text("contract")
    wanted = {"paths": [str(folder)], "catalogues": True}

    looked = result(play, "--check", "--diff", **wanted)
    assert looked["changed"] and not (folder / "SHA256SUMS").exists()
    done = result(play, "--diff", **wanted)
    assert done["changed"] and done["files"] == 2
    assert {name: done[name] for name in ("new", "written", "diff")} == {
        name: looked[name] for name in ("new", "written", "diff")
    }
    assert f"{folder}/report.pdf.checksum\n" in done["diff"]["prepared"]
    assert not result(play, **wanted)["changed"]
    assert not result(play, **wanted, state="verified")["failed"]

    (folder / "report.pdf").write_text("evil")
    tampered = result(play, **wanted, state="verified")
    assert tampered["failed"] and f"{folder}/report.pdf: changed" in tampered["msg"]
    assert tampered["differences"]["changed"] == [f"{folder}/report.pdf"]
    refused = result(play, **wanted, update=False)
    assert refused["failed"] and "differ from their checksums" in refused["msg"]
    assert result(play, **wanted)["updated"] == [f"{folder}/report.pdf"]
