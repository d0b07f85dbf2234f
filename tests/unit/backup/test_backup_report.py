# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layout, copies, checksums and report of a backup."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Optional

import pytest
from small_host import SmallHost, facts, report_of

from ansible_collections.fleetops.continuity.plugins.module_utils.backup import layout, sorting, verifying
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.faults import BackupError
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.layout import Staging
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.report import summary
from ansible_collections.fleetops.continuity.plugins.module_utils.checksums import folders
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import (
    offsite_copies,
    offsite_documents,
    snapshots,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.destination import Destination
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

CONTRACT = [
    "backup_id",
    "timestamp",
    "session_date",
    "protocol",
    "status",
    "database_snapshot",
    "compressed_logs",
    "icloudfire_sync",
    "verification_status",
    "total_files_backed_up",
    "checksums_generated",
]


def test_the_report_has_the_keys_of_the_contract_in_their_order(host: SmallHost) -> None:
    made = host.make(backup_id="BACKUP_2026-01-31_020000")
    report = report_of(made)
    assert list(report)[: len(CONTRACT)] == CONTRACT
    assert report["backup_id"] == "BACKUP_2026-01-31_020000" and report["session_date"] == "2026-01-31"
    datetime.fromisoformat(report["timestamp"].replace("Z", "+00:00"))
    assert (report["status"], report["verification_status"]) == ("SUCCESS", "VERIFIED")
    assert set(report["database_snapshot"]) == {"file", "checksum", "size_bytes"}
    states = Path(made.backup.folder, report["database_snapshot"]["file"])
    assert states.name == "agent_states_2026-01-31.json"
    assert hashlib.sha256(states.read_bytes()).hexdigest() == report["database_snapshot"]["checksum"]
    assert states.stat().st_size == report["database_snapshot"]["size_bytes"]
    assert set(json.loads(states.read_text())["hosts"]) == {"pc2"}
    for key in ("compressed_logs", "icloudfire_sync"):
        assert set(report[key]) == {"count", "files"} and report[key]["count"] == len(report[key]["files"])
    files = [path for path in Path(made.backup.folder).rglob("*") if path.is_file()]
    own = {"SHA256SUMS", "MD5SUMS", "backup_report_2026-01-31.json"}
    payload = [path for path in files if path.name not in own and path.suffix != ".checksum"]
    assert report["total_files_backed_up"] == report["checksums_generated"] == len(payload) == 10


def test_files_lie_where_a_person_looks_for_them(host: SmallHost) -> None:
    host.remember("second")
    folder = host.make(backup_id="BACKUP_2026-01-31_020000").backup.folder
    assert folder == str(host.staging / "2026-01-31")
    assert facts(host.inside(f"{folder}/database", host.database)) == ["first", "second"]
    assert host.inside(f"{folder}/database", host.state / "Twin/profile.json").read_text() == '{"mood": "calm"}'
    assert host.inside(f"{folder}/technical", host.state / "Twin/README.md").is_file()
    assert host.inside(f"{folder}/technical", host.papers / "design.md").is_file()
    assert host.inside(f"{folder}/technical", host.papers / "schema.json").is_file()
    assert host.inside(f"{folder}/legal", host.papers / "manual.pdf").is_file()
    assert host.inside(f"{folder}/legal", host.papers / "contract with ACME.txt").read_text() == "We agree.\n"
    assert not list(Path(folder).rglob("cache.bin*")), "it is in the repository only"
    in_repository = {entry["path"] for entry in snapshots.list_entries(host.wish.repository, "latest")}
    assert str(host.state / "Twin/cache.bin") in in_repository
    for path in Path(folder).rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o400), path


@pytest.mark.parametrize(("program", "sums"), [("sha256sum", "SHA256SUMS"), ("md5sum", "MD5SUMS")])
def test_the_standard_tools_accept_the_sums(host: SmallHost, program: str, sums: str) -> None:
    (host.papers / "odd \\ name\n with % and ünï\udcff.md").write_text("odd")
    folder = host.make().backup.folder
    checked = subprocess.run([program, "--check", "--strict", sums], cwd=folder, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(b": OK") == 2 * 11
    assert b"odd %5C name%0A with %25 and \xc3\xbcn\xc3\xaf%FF.md: OK" in checked.stdout
    victim = next(path for path in Path(folder, "legal").rglob("*.pdf"))
    victim.chmod(0o600)
    victim.write_text("%PDF-evil")
    assert subprocess.run(
        [program, "--check", "--quiet", sums], cwd=folder, capture_output=True, check=False
    ).returncode


def test_every_file_has_its_sidecar(host: SmallHost) -> None:
    backup = host.make().backup
    for file in (path for path in Path(backup.folder).rglob("*") if path.is_file() and path.suffix != ".checksum"):
        if file.name in ("SHA256SUMS", "MD5SUMS"):
            continue
        sidecar = json.loads(file.with_name(file.name + ".checksum").read_text())
        assert set(sidecar) == {"file_path", "checksum", "timestamp", "algorithm"}
        assert sidecar["file_path"] == str(file.relative_to(backup.folder))
        assert sidecar["checksum"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert (sidecar["algorithm"], sidecar["timestamp"]) == ("SHA-256", backup.report["timestamp"])
    parts = tuple(f"{backup.folder}/{name}" for name in ("database", "logs", "legal", "technical"))
    differences, count = folders.verify(folders.Wanted(parts))
    assert differences.faults() == [] and count == 2 * backup.report["total_files_backed_up"], "as checksum sees them"


def test_several_backups_on_one_day_stand_side_by_side(host: SmallHost) -> None:
    first = host.make(backup_id="BACKUP_2026-01-31_020000").backup
    second = host.make(backup_id="BACKUP_2026-01-31_143000").backup
    assert [Path(one.folder).name for one in (first, second)] == ["2026-01-31", "2026-01-31_143000"]
    assert Path(second.report_file).name == "backup_report_2026-01-31.json"
    assert verifying.verify(first) == verifying.verify(second) == []
    assert [one.id for one in Staging(host.wish.destination).backups()[0]] == [first.id, second.id]


def test_the_same_backup_is_made_once(host: SmallHost) -> None:
    made = host.make(backup_id="BACKUP_2026-01-31_020000")
    before = {path: path.stat().st_mtime_ns for path in host.destination.rglob("*")}
    (host.state / "Twin/profile.json").write_text('{"mood": "other"}')
    again = host.make(backup_id="BACKUP_2026-01-31_020000")
    assert made.new and not again.new and again.checksum == made.checksum
    assert not host.make(backup_id="BACKUP_2026-01-31_020000", check=True).new
    assert {path: path.stat().st_mtime_ns for path in host.destination.rglob("*")} == before
    assert len(snapshots.list_snapshots(host.wish.repository)[0]) == 1


def test_backups_without_a_name_get_one_each(host: SmallHost) -> None:
    names = [host.make().backup.id for _number in range(3)]
    assert len(set(names)) == 3 and all(re.fullmatch(r"BACKUP_\d{4}-\d\d-\d\d_\d{6}", name) for name in names)


def test_check_mode_says_what_a_run_then_copies(host: SmallHost) -> None:
    looked = host.make(check=True, backup_id="BACKUP_2026-01-31_020000")
    assert looked.new and looked.backup is None
    assert not host.destination.exists() and not os.path.exists(host.wish.repository)
    made = host.make(backup_id="BACKUP_2026-01-31_020000")
    copied = [copy["path"] for copy in made.backup.report["catalogue"]]
    assert [path for path in copied if not path.startswith("logs/")] == [
        path for path in looked.planned if not path.startswith("logs/")
    ]
    assert [path for path in looked.planned if path.startswith("logs/")] == ["logs/Twin.log"]


def test_an_incremental_backup_is_complete_and_shares_what_is_equal(host: SmallHost) -> None:
    full = host.make(backup_id="BACKUP_2026-01-31_020000").backup
    host.remember("second")
    later = host.make(backup_id="BACKUP_2026-02-01_020000", backup_type="incremental").backup
    linked = {copy["path"] for copy in later.report["catalogue"] if copy["linked"]}
    pdf, database = (
        sorting.place(folder, str(path))
        for folder, path in (("legal", host.papers / "manual.pdf"), ("database", host.database))
    )
    assert pdf in linked and database not in linked
    assert os.path.samefile(f"{full.folder}/{pdf}", f"{later.folder}/{pdf}")
    assert facts(Path(f"{full.folder}/{database}")) == ["first"]
    assert facts(Path(f"{later.folder}/{database}")) == ["first", "second"]
    assert {copy["path"] for copy in later.report["catalogue"]} - linked >= {database}
    assert verifying.verify_all([full, later]) == {}
    shared = Path(later.folder, pdf)
    shared.chmod(0o600)
    shared.write_text("%PDF-evil")
    assert verifying.verify_all([full, later]) == {one.id: [f"{pdf}: changed"] for one in (full, later)}
    shared.write_text("%PDF-1.4\n")
    shutil.rmtree(full.folder)
    assert verifying.verify(later) == []


def test_an_incremental_backup_does_not_trust_what_rotted_in_the_older_one(host: SmallHost) -> None:
    full = host.make(backup_id="BACKUP_2026-01-31_020000").backup
    pdf = sorting.place("legal", str(host.papers / "manual.pdf"))
    Path(full.folder, pdf).chmod(0o600)
    Path(full.folder, pdf).write_text("%PDF-1.5\n")
    later = host.make(backup_id="BACKUP_2026-02-01_020000", backup_type="incremental").backup
    assert Path(later.folder, pdf).read_text() == "%PDF-1.4\n"
    assert verifying.verify(later) == []


@pytest.mark.parametrize("sums", [None, b"garbage\n", b"\xff\xfe"])
def test_a_backup_that_cannot_be_relied_on_does_not_stop_the_next_one(host: SmallHost, sums: Optional[bytes]) -> None:
    host.make(backup_id="BACKUP_2026-01-30_020000")
    newest = host.make(backup_id="BACKUP_2026-01-31_020000").backup
    file = Path(newest.folder, "SHA256SUMS")
    file.unlink()
    if sums is not None:
        file.write_bytes(sums)
    later = host.make(backup_id="BACKUP_2026-02-01_020000", backup_type="incremental").backup
    assert later.report["status"] == "PARTIAL" and [one["path"] for one in later.report["problems"]] == [str(file)]
    assert verifying.verify(later) == []
    shared = Path(later.folder, sorting.place("legal", str(host.papers / "manual.pdf")))
    assert shared.stat().st_nlink == 2, "the one before is still of use"


def test_where_there_is_nothing_to_back_up_nothing_is_made(host: SmallHost) -> None:
    wanted = {"source_paths": (), "document_paths": (), "destination": str(host.folder / "absent/03_BACKUPS")}
    with pytest.raises(ContinuityError, match="There is nothing to take a snapshot of"):
        host.make(**wanted)
    assert not (host.folder / "absent").exists()


def test_every_line_of_a_log_is_in_one_archive(host: SmallHost) -> None:
    log = host.folder / "logs" / "Twin.log"
    text = log.read_bytes()
    full = host.make(backup_id="BACKUP_2026-01-31_020000").backup
    with log.open("ab") as stream:
        stream.write(b"third line\n")
    later = host.make(backup_id="BACKUP_2026-02-01_020000", backup_type="incremental").backup
    anew = host.make(backup_id="BACKUP_2026-02-02_020000", compression_level="high").backup
    plain = [
        b"".join(
            gzip.decompress(Path(backup.folder, name).read_bytes())
            for name in backup.report["compressed_logs"]["files"]
        )
        for backup in (full, later, anew)
    ]
    assert plain == [text, b"third line\n", text + b"third line\n"]
    (archive,) = full.report["log_archives"]
    assert (
        archive["ratio"] == pytest.approx(archive["compressed_bytes"] / len(text), abs=1e-4) and archive["ratio"] < 0.2
    )
    assert anew.report["log_archives"][0]["level"] == 9 and anew.report["inputs"]["compression_level"] == "high"
    assert "logs            1 compressed, 0.0 MB to" in "\n".join(summary(full.report, full.folder, ""))


def test_logs_with_odd_names_are_archived_and_known_again(host: SmallHost) -> None:
    for name in ("odd\nname.log", "back\\slash.log", "l" * 213 + ".log"):
        (host.folder / "logs" / name).write_text("a line\n")
    for turn in range(2):
        made = host.make(backup_type="incremental")
        assert made.backup.report["problems"] == []
        assert made.backup.report["compressed_logs"]["count"] == (4 if turn == 0 else 0)
        assert verifying.verify(made.backup) == []
        subprocess.run(
            ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=made.backup.folder, check=True
        )


def test_a_killed_backup_takes_no_line_of_a_log_with_it(host: SmallHost, monkeypatch) -> None:
    host.make(backup_id="BACKUP_2026-01-31_020000")
    with (host.folder / "logs" / "Twin.log").open("ab") as stream:
        stream.write(b"third line\n")

    def killed(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Staging, "publish", killed)
        host.make(backup_type="incremental")
    later = host.make(backup_type="incremental").backup
    (name,) = later.report["compressed_logs"]["files"]
    assert gzip.decompress(Path(later.folder, name).read_bytes()) == b"third line\n"


def test_every_copy_was_compared_with_its_source(host: SmallHost) -> None:
    report = report_of(host.make())
    compared = {copy["source"]: copy["compared_with"] for copy in report["catalogue"]}
    assert compared.pop(str(host.database)) == "snapshot"
    assert compared.pop("") == "itself"
    assert str(host.folder / "logs/Twin.log") in compared
    assert set(compared.values()) == {"source"}


def test_a_source_that_differs_though_nothing_touched_it_is_named(host: SmallHost, monkeypatch) -> None:
    """Rot on the disk of the source, between the reading of the snapshot and the comparison."""
    file = host.papers / "manual.pdf"
    verify = snapshots.verify_repository

    def rot(*arguments, **options):
        times = file.stat()
        file.write_text("%PDF-1.X\n")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        return verify(*arguments, **options)

    monkeypatch.setattr(snapshots, "verify_repository", rot)
    report = report_of(host.make())
    assert (report["status"], report["verification_status"]) == ("PARTIAL", "DIFFERS")
    assert [(one["path"], one["kind"]) for one in report["problems"]] == [(str(file), "differs")]


def test_a_source_that_goes_on_changing_is_backed_up_as_it_was_read(host: SmallHost, monkeypatch) -> None:
    file = host.papers / "design.md"
    verify = snapshots.verify_repository

    def edit(*arguments, **options):
        file.write_text("# Another design\n")
        return verify(*arguments, **options)

    monkeypatch.setattr(snapshots, "verify_repository", edit)
    made = host.make()
    report = report_of(made)
    assert (report["status"], report["verification_status"]) == ("SUCCESS", "VERIFIED")
    copy = next(copy for copy in report["catalogue"] if copy["source"] == str(file))
    assert copy["compared_with"] == "snapshot"
    assert Path(made.backup.folder, copy["path"]).read_text() == "# Design\n"


def test_a_source_that_never_settles_is_backed_up_and_reported(host: SmallHost) -> None:
    file = host.papers / "minutes.md"
    file.write_bytes(b"0" * 30_000_000)
    program = f"""
import os
file, number = os.open({str(file)!r}, os.O_RDWR), 0
while True:
    number += 1
    os.pwrite(file, str(number).encode().zfill(20), 0)
"""
    writer = subprocess.Popen([sys.executable, "-c", program])
    try:
        while file.read_bytes().startswith(b"0" * 20):
            time.sleep(0.01)
        report = report_of(host.make())
    finally:
        writer.kill()
        writer.wait()
    assert (report["status"], report["verification_status"]) == ("PARTIAL", "UNSETTLED")
    assert [(one["path"], one["kind"]) for one in report["problems"]] == [(str(file), "unsettled")]


def test_a_database_that_is_damaged_inside_is_named(host: SmallHost) -> None:
    """SQLite copies pages without looking into them."""
    with host.connection:
        host.connection.executemany("INSERT INTO facts VALUES (?)", [("x" * 500,) for _number in range(2000)])
        host.connection.execute("CREATE INDEX by_fact ON facts (fact)")
    host.connection.close()
    with host.database.open("r+b") as stream:
        stream.seek(4096 * 20)
        stream.write(b"\xff" * 4096)
    report = report_of(host.make())
    assert report["status"] == "PARTIAL"
    assert [(one["path"], one["kind"]) for one in report["problems"]] == [(str(host.database), "sqlite")]
    assert "SQLite finds it damaged" in report["problems"][0]["message"]


def test_a_corrupt_document_makes_a_partial_backup_with_the_last_good_one(host: SmallHost) -> None:
    host.make()
    (host.state / "Twin/profile.json").write_text('{"mood": ')
    made = host.make()
    report = report_of(made)
    assert report["status"] == "PARTIAL"
    assert [(one["path"], one["kind"]) for one in report["problems"]] == [
        (str(host.state / "Twin/profile.json"), "json")
    ]
    kept = host.inside(f"{made.backup.folder}/database", host.state / "Twin/profile.json")
    assert kept.read_text() == '{"mood": "calm"}'


def test_tampering_is_named_changed_missing_added_swapped(host: SmallHost) -> None:
    made = host.make()
    folder = Path(made.backup.folder)
    assert verifying.verify(made.backup, expected=made.checksum) == []
    pdf, contract, design, schema = (
        folder / sorting.place(kind, str(host.papers / name))
        for kind, name in (
            ("legal", "manual.pdf"),
            ("legal", "contract with ACME.txt"),
            ("technical", "design.md"),
            ("technical", "schema.json"),
        )
    )
    one, other = pdf.read_bytes(), contract.read_bytes()
    for path, content in ((pdf, other), (contract, one), (design, b"# Evil\n")):
        path.chmod(0o600)
        path.write_bytes(content)
    schema.unlink()
    (folder / "legal" / "added.pdf").write_text("new")
    (folder / "legal" / "link").symlink_to("/etc/passwd")
    faults = "\n".join(verifying.verify(made.backup, expected=made.checksum))
    for path, said in (
        (pdf, f"swapped, it holds what was {contract.relative_to(folder)}"),
        (contract, f"swapped, it holds what was {pdf.relative_to(folder)}"),
        (design, "changed"),
        (schema, "missing"),
        (folder / "legal/added.pdf", "added"),
        (folder / "legal/link", "added, it is no ordinary file"),
    ):
        assert f"{path.relative_to(folder)}: {said}" in faults


def test_sums_that_were_made_to_fit_are_noticed(host: SmallHost) -> None:
    made = host.make()
    folder = Path(made.backup.folder)
    sums = folder / "SHA256SUMS"
    sums.chmod(0o600)
    sums.write_text(sums.read_text().replace(sums.read_text()[:64], "0" * 64))
    assert any("SHA256SUMS: changed" in fault for fault in verifying.verify(made.backup))
    report = Path(made.backup.report_file)
    report.chmod(0o600)
    report.write_text(report.read_text().replace("VERIFIED", "verified"))
    noticed = verifying.verify(Staging(host.wish.destination).load(folder.name), expected=made.checksum)
    assert f"{report.name}: changed, it was {made.checksum}" in noticed
    assert f"{report.name}: differs from its sidecar" in noticed


def test_the_summary_says_the_same_with_the_reports_own_checksum(host: SmallHost) -> None:
    made = host.make()
    said = "\n".join(summary(made.backup.report, made.backup.folder, made.checksum))
    assert made.backup.id in said and made.backup.folder in said
    assert f"SHA-256 {hashlib.sha256(Path(made.backup.report_file).read_bytes()).hexdigest()}" in said
    assert "7 with the source as it stands, 1 with what was read" in said


def test_a_broken_host_is_backed_up_all_the_same(host: SmallHost) -> None:
    (host.folder / "host.json").write_text('{"format": 1, "host": "pc2"}')
    report = report_of(host.make())
    assert report["status"] == "PARTIAL" and report["total_files_backed_up"] == 10
    assert [(one["path"], one["kind"]) for one in report["problems"]] == [(str(host.folder), "states")]
    assert "this is not the description of a host" in report["problems"][0]["message"]


def test_documents_and_restore_points_go_off_site(host: SmallHost) -> None:
    pyrage = pytest.importorskip("pyrage", reason="encrypting off-site copies needs pyrage")
    identity = pyrage.x25519.Identity.generate()
    keys = host.folder / "identity.txt"
    keys.write_text(f"{identity}\n")
    (host.folder / "far").mkdir()
    offsite = {"destination": str(host.folder / "far"), "recipients": [str(identity.to_public())]}
    report = report_of(host.make(offsite=offsite))
    expected = [copy["path"] for copy in report["catalogue"] if copy["path"].startswith(("legal/", "technical/"))]
    assert report["icloudfire_sync"] == {"count": 5, "files": expected} and report["status"] == "SUCCESS"
    assert report["offsite"]["documents"] == 5 and report["offsite"]["restore_points"] >= 3
    restored = host.folder / "restored"
    far = offsite_copies.Copy(Destination(offsite["destination"]))
    offsite_documents.restore(far, "pc2", [str(keys)], str(restored))
    assert Path(f"{restored}{host.papers}/manual.pdf").read_text() == "%PDF-1.4\n"
    offsite_copies.restore(far, "latest", [str(keys)], target=str(restored))
    assert facts(Path(f"{restored}{host.database}")) == ["first"]
    again = report_of(host.make(offsite=offsite))
    assert again["icloudfire_sync"]["count"] == 5 and again["offsite"]["documents"] == 0


def test_an_endpoint_that_fails_makes_a_partial_backup(host: SmallHost) -> None:
    (host.folder / "far").write_text("no folder")
    report = report_of(host.make(offsite={"destination": str(host.folder / "far"), "recipients": ["age1nonsense"]}))
    assert report["status"] == "PARTIAL" and report["icloudfire_sync"]["count"] == 0
    assert [one["kind"] for one in report["problems"]] == ["offsite"]
    with pytest.raises(BackupError, match="colour: off-site copies have no such setting"):
        host.make(offsite={"destination": "/far", "colour": "red"})


def test_long_names_leave_room_for_their_sidecars(host: SmallHost) -> None:
    names = ["a" * 252 + ".md", "ä" * 126 + "a.md"[:2], "a" * 251 + "b.md"]
    for name in names[:1] + names[2:]:
        (host.papers / name[:255]).write_text(name)
    made = host.make()
    assert verifying.verify(made.backup) == []
    assert len([copy for copy in made.backup.report["catalogue"] if "aaaa" in copy["path"]]) == 2


@pytest.mark.parametrize("name", ["2026-01-31", "BACKUP_2026-02-30_020000", "BACKUP_2026-01-31_250000", "../x", ""])
def test_other_names_are_refused(host: SmallHost, name: str) -> None:
    with pytest.raises(BackupError, match="not the name of a backup"):
        host.make(backup_id=name)


def test_a_destination_belongs_to_one_host(host: SmallHost) -> None:
    host.make(backup_id="BACKUP_2026-01-31_020000")
    with pytest.raises(BackupError, match="of the host pc2"):
        host.make(backup_id="BACKUP_2026-01-31_020000", host="mainpc")


def test_one_backup_at_a_time_in_a_destination(host: SmallHost) -> None:
    with Staging(host.wish.destination).turn(SystemClock(), 0):
        with pytest.raises(BackupError, match="Another backup is being made"):
            host.make(wait=0.2)


def test_what_a_killed_run_left_is_removed_by_the_next(host: SmallHost) -> None:
    left = host.staging / f"{layout.BUILDING}BACKUP_2026-01-30_020000"
    (left / "database").mkdir(parents=True)
    (left / "database" / "half").write_text("half")
    host.make()
    assert not left.exists()


def test_nothing_is_published_when_something_fails(host: SmallHost) -> None:
    for check in (True, False):
        with pytest.raises(ContinuityError, match="does not exist: /nonexistent"):
            host.make(source_paths=("/nonexistent",), check=check)
    assert [path.name for path in host.staging.iterdir()] == [".lock"]


def test_folders_of_somebody_else_are_left_alone_and_told(host: SmallHost) -> None:
    for name in ("2026-01-31", "2099-01-01"):
        (host.staging / name).mkdir(parents=True)
        (host.staging / name / "note").write_text("mine")
    made = host.make(backup_type="incremental", backup_id="BACKUP_2026-01-31_020000")
    assert Path(made.backup.folder).name == "2026-01-31_020000"
    found, damaged = Staging(host.wish.destination).backups()
    assert [one.id for one in found] == [made.backup.id]
    assert all("There is no backup here" in fault for fault in damaged) and len(damaged) == 2


def test_the_repository_and_older_backups_are_never_backed_up(host: SmallHost) -> None:
    inner = {"repository": str(host.state / "repository"), "destination": str(host.state / "odd [ab]" / "03_BACKUPS")}
    for _number in range(2):
        made = host.make(**inner)
    assert not [copy for copy in made.backup.report["catalogue"] if "03_BACKUPS" in copy["path"]]
    paths = [entry["path"] for entry in snapshots.list_entries(inner["repository"], "latest")]
    assert not [path for path in paths if "STAGING/" in path or "/repository/" in path]


def test_to_verify_nothing_is_no_success(host: SmallHost, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["backup", "--root", str(host.folder)]
    assert main([*command, "--verify", "all"]) == 2
    assert "There is no backup here that could be verified" in capsys.readouterr().err
    assert main([*command, "--verify", ""]) == 2, "a variable that is not set makes no backup"
    assert main([*command, "--expected", "0" * 64]) == 2
    assert not host.destination.exists()
    host.make()
    assert main([*command, "--verify", "all"]) == 0


@pytest.mark.parametrize("backup_type", ["full", "incremental"])
def test_names_that_any_agent_can_choose_stop_no_backup(host: SmallHost, backup_type: str) -> None:
    odd = (
        b"\xff\xfe",
        b"line\nbreak",
        b"back\\slash",
        b"-rf",
        b"\x1b[2J",
        b"%41",
        b"SHA256SUMS",
        b"catalogue",
        b"a" * 200,
    )
    for folder, ending in ((host.state, b".json"), (host.papers, b".pdf"), (host.folder / "logs", b".log")):
        for name in odd:
            Path(os.fsdecode(os.fsencode(folder) + b"/" + name + ending)).write_bytes(b"{}\n")
    host.make(backup_id="BACKUP_2026-01-31_020000")
    made = host.make(
        backup_id="BACKUP_2026-02-01_020000", backup_type=backup_type, log_paths=(str(host.folder),)
    ).backup
    assert made.report["problems"] == [] and verifying.verify(made) == []
    for tool, sums in (("sha256sum", "SHA256SUMS"), ("md5sum", "MD5SUMS")):
        assert (
            subprocess.run([tool, "--check", "--quiet", "--strict", sums], cwd=made.folder, check=False).returncode == 0
        )
    sources = [copy["source"] for copy in made.report["catalogue"]]
    assert len([source for source in sources if "%FF%FE" in source]) >= 2


def test_what_an_agent_answers_stops_no_backup(host: SmallHost) -> None:
    spiteful = {"dependencies": [], "state": {"answer": json.loads('"\\ud800 \\udcff"')}}
    states = {"pc9": {"agents": {"Twin": spiteful}, "error": ""}}
    made = host.make(states=states, backup_id="BACKUP_2026-01-31_020000").backup
    file = Path(made.folder, "database/agent_states_2026-01-31.json")
    assert json.loads(file.read_bytes())["hosts"]["pc9"]["agents"]["Twin"]["state"]["answer"] == "\ud800 \udcff"
    assert verifying.verify(made) == []
