# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook backup on two hosts of a small fleet, as an operator runs it, and its modules.

The tests of the playbook share one fleet and run in their order.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from playbook import Playbook
from small_fleet import AGENTS, SmallFleet

NAME = "BACKUP_2026-01-31_020000"


class Operator:
    """Runs the playbook backup; ``said`` is all that it printed the last time."""

    def __init__(self, fleet: SmallFleet) -> None:
        self.fleet = fleet
        self.said = ""

    def run(self, *arguments: str, **variables: Any) -> int:
        ended = subprocess.run(
            self.fleet.command("backup", "-e", json.dumps(variables), *arguments),
            env=self.fleet.environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.said = ended.stdout + ended.stderr
        return ended.returncode

    def changed(self) -> int:
        return sum(int(part.split("=")[1]) for part in self.said.split() if part.startswith("changed="))

    def staging(self, host: str) -> Path:
        return Path(self.fleet.root(host)) / "03_BACKUPS" / "STAGING"

    def report(self, host: str, folder: str = "2026-01-31") -> dict[str, Any]:
        return dict(json.loads((self.staging(host) / folder / "backup_report_2026-01-31.json").read_text()))


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    fleet = SmallFleet(folder)
    papers = folder / "papers"
    papers.mkdir()
    (papers / "contract.pdf").write_text("%PDF-1.4\n")
    (papers / "design.md").write_text("# Design\n")
    fleet.write_inventory(continuity_backup_document_paths=[str(papers)])
    try:
        for host, agents in AGENTS.items():
            root = Path(fleet.root(host))
            fleet.make_root(host)
            for agent in agents:
                (root / "state" / agent).mkdir(parents=True)
                (root / "state" / agent / "memory.json").write_text(json.dumps({"agent": agent}))
                (root / "logs" / f"{agent}.log").write_text("a line\n" * 1000)
            with sqlite3.connect(root / "state" / min(agents) / "facts.db") as connection:
                connection.execute("CREATE TABLE facts (fact TEXT)")
            connection.close()
        fleet.stage("r-1")
        for host in AGENTS:
            (Path(fleet.root(host)) / "current").symlink_to("releases/r-1")
        yield Operator(fleet)
    finally:
        fleet.stop()
        shutil.rmtree(folder)


def test_check_mode_says_what_would_be_copied_and_writes_nothing(operator: Operator) -> None:
    assert operator.run("--check", "--diff", backup_id=NAME) == 0, operator.said
    for host in AGENTS:
        assert not operator.staging(host).exists()
        assert not (Path(operator.fleet.root(host)) / "repository").exists()
    assert "+ database/agent_states_2026-01-31.json" in operator.said
    assert "would copy" in operator.said


def test_a_backup_of_the_whole_fleet_under_one_name(operator: Operator) -> None:
    assert operator.run(backup_id=NAME) == 0, operator.said
    for host, agents in AGENTS.items():
        folder, report = operator.staging(host) / "2026-01-31", operator.report(host)
        assert {path.name for path in folder.iterdir() if path.is_dir()} == {"database", "logs", "legal", "technical"}
        assert (report["backup_id"], report["host"]) == (NAME, host)
        assert (report["status"], report["verification_status"]) == ("SUCCESS", "VERIFIED")
        states = json.loads((folder / report["database_snapshot"]["file"]).read_text())
        assert set(states["hosts"]) == set(AGENTS), "the states of the whole fleet lie on every host"
        assert states["agents"] == 5 and states["architecture"]["dependencies"]["pc2:Edge"] == ["mainpc:Base"]
        assert len(list((folder / "database").rglob("facts.db"))) == 1
        assert len(list((folder / "database").rglob("memory.json"))) == len(agents)
        for agent in agents:
            (archive,) = (folder / "logs").glob(f"{agent}.log.*.gz")
            assert gzip.decompress(archive.read_bytes()) == b"a line\n" * 1000
        assert [path.name for path in (folder / "legal").rglob("*.pdf")] == ["contract.pdf"]
        assert "design.md" in [path.name for path in (folder / "technical").rglob("*.md")]
        for program, sums in (("sha256sum", "SHA256SUMS"), ("md5sum", "MD5SUMS")):
            subprocess.run([program, "--check", "--quiet", sums], cwd=folder, check=True)
        checksum = hashlib.sha256((folder / "backup_report_2026-01-31.json").read_bytes()).hexdigest()
        assert f"report          SHA-256 {checksum}" in operator.said, "the summary has the report's own checksum"


def test_the_same_name_again_changes_nothing(operator: Operator) -> None:
    before = {path: path.lstat().st_mtime_ns for host in AGENTS for path in operator.staging(host).rglob("*")}
    assert operator.run(backup_id=NAME) == 0, operator.said
    assert operator.changed() == 0
    assert f"{NAME} of pc2: SUCCESS" in operator.said
    assert {path: path.lstat().st_mtime_ns for host in AGENTS for path in operator.staging(host).rglob("*")} == before


def test_the_inputs_of_the_protocol(operator: Operator) -> None:
    elsewhere = operator.fleet.folder / "elsewhere"
    source = Path(operator.fleet.root("pc2")) / "state" / "Sink"
    inputs = {"source_paths": [str(source)], "destination": str(elsewhere), "compression_level": "high"}
    assert operator.run("--limit", "pc2", backup_id=NAME, **inputs) == 2
    assert f"The restore point rp-{NAME} is there already, of other paths" in operator.said
    inputs = {**inputs, "backup_id": "BACKUP_2026-01-31_030000", "backup_type": "incremental"}
    assert operator.run("--limit", "pc2", **inputs) == 0, operator.said
    report = json.loads((elsewhere / "STAGING/2026-01-31/backup_report_2026-01-31.json").read_text())
    assert report["backup_type"] == "incremental"
    assert report["inputs"]["source_paths"] == [str(source)]
    assert report["inputs"]["destination"] == str(elsewhere)
    assert report["inputs"]["compression_level"] == "high"
    assert {archive["level"] for archive in report["log_archives"]} == {9}
    sources = {copy["source"] for copy in report["catalogue"] if copy["kind"] == "json"}
    assert sources == {str(source / "memory.json")}


def test_a_second_backup_of_the_day_and_a_partial_one(operator: Operator) -> None:
    broken = Path(operator.fleet.root("pc2")) / "state" / "Sink" / "memory.json"
    broken.write_text('{"agent": ')
    assert operator.run(backup_id="BACKUP_2026-01-31_143000", backup_type="incremental") == 2
    assert "The backup is partial" in operator.said and str(broken) in operator.said
    assert operator.report("pc2", "2026-01-31_143000")["status"] == "PARTIAL"
    assert operator.report("mainpc", "2026-01-31_143000")["status"] == "SUCCESS"
    assert operator.report("pc2")["status"] == "SUCCESS", "the first one of the day stays as it was"
    partial = {"backup_id": "BACKUP_2026-01-31_143000", "backup_allow_partial": True}
    assert operator.run(**partial) == 0, operator.said
    assert operator.changed() == 0


def test_backups_are_listed_verified_and_tampering_is_named(operator: Operator, tmp_path: Path) -> None:
    hosts = {host: {"destination": str(operator.staging(host).parent)} for host in AGENTS}
    play = Playbook(tmp_path / "play", hosts)
    listed = play.task("backup_info", {"destination": "{{ destination }}", "verify": True})
    for host in AGENTS:
        result = listed.results[host]
        assert not result["failed"] and not result["changed"], result
        assert [one["backup_id"] for one in result["backups"]] == [NAME, "BACKUP_2026-01-31_143000"]
        assert result["faults"] == {} and result["damaged"] == []
    folder = operator.staging("pc2") / "2026-01-31"
    pdf = next((folder / "legal").rglob("*.pdf"))
    pdf.chmod(0o600)
    pdf.write_text("%PDF-evil")
    wanted = {"destination": "{{ destination }}", "backup_id": NAME, "verify": True}
    tampered = play.task("backup_info", wanted).results
    assert tampered["pc2"]["failed"] and f"{pdf.relative_to(folder)}: changed" in tampered["pc2"]["msg"]
    assert not tampered["mainpc"]["failed"]


def test_states_of_agents_are_told_without_secrets(operator: Operator, tmp_path: Path) -> None:
    play = Playbook(tmp_path / "play", {"pc2": {}})
    result = play.task("agent_states_info", {"root": operator.fleet.root("pc2")}).results["pc2"]
    assert (result["host"], result["changed"]) == ("pc2", False)
    assert set(result["states"]["agents"]) == set(AGENTS["pc2"])


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("backup", {"root": "{tmp}"}, "nothing to take a snapshot of"),
        ("backup", {"root": "{tmp}", "backup_id": "today", "source_paths": ["{tmp}"]}, "not the name of a backup"),
        ("backup_info", {"destination": "{tmp}", "backup_id": NAME}, f"There is no {NAME} here"),
        ("backup_info", {"destination": "{tmp}", "expected": "00"}, "backup_id"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(
    tmp_path: Path, module: str, options: dict[str, Any], said: str
) -> None:
    def fill(value: Any) -> Any:
        return [fill(one) for one in value] if isinstance(value, list) else value.replace("{tmp}", str(tmp_path))

    play = Playbook(tmp_path / "play", {"pc2": {}})
    failed = play.task(module, {key: fill(value) for key, value in options.items()}).results["pc2"]
    assert failed["failed"] and said in failed["msg"], failed
