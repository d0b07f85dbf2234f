# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials move, are proven, and come back; what cannot be done leaves everything as it was."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
from moving import COMPOSE, HUB, MARKS, VALUES, Moving
from reading import QuickClock, bed
from vault_server import faults
from vault_server.bed import Bed
from vault_server.profiles import CURRENT, OLDER

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import migration_files, writers
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.age_file import decrypt
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.migration_files import MigrationError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import Hidden
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

MOVED_HUB = (
    HUB.replace('"Kx82mdPq0aLz"', '"${DATABASE_PASSWORD}"')
    .replace("Zr94kdWm2pQx", '"${HUB_TOKEN_2}"')
    .replace(HUB[HUB.index("|") : HUB.index("\n\n# end")], '"${TLS_KEY}"')
)
MOVED_COMPOSE = (
    COMPOSE.replace("POSTGRES_PASSWORD=Vm73hdKs9wPb", '"POSTGRES_PASSWORD=${POSTGRES_PASSWORD}"')
    .replace("HUB_TOKEN=${HUB_TOKEN:-Gt65bcNw8rYe}", '"HUB_TOKEN=${HUB_TOKEN}"')
    .replace("'Vm73hdKs9wPb'", '"${POSTGRES_PASSWORD}"')
    .replace("redis://:Hs48fjCm3vXq@cache:6379/0", "${WEB_URL}")
)


@pytest.fixture
def moving(tmp_path: Path) -> Moving:
    return Moving(tmp_path)


@pytest.fixture(params=["kv/fleet", "old/fleet"])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[OLDER, CURRENT], ids=lambda profile: profile.name)
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    with bed(tmp_path, request.param) as made:
        yield made


def moved(moving: Moving) -> bool:
    files = moving.files()
    return files["conf/hub.yaml"] == MOVED_HUB.encode() and files["docker-compose.yml"] == MOVED_COMPOSE.encode()


def refused(moving: Moving, clock: Any = None) -> ContinuityError:
    """An attempt that fails without a word of a value, and leaves the tree as it was."""
    with pytest.raises(ContinuityError) as caught:
        moving.apply(clock)
    told = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert not any(mark.decode() in told for mark in MARKS)
    assert moving.files() == moving.originals
    return caught.value


def test_moved_proven_and_back(moving: Moving) -> None:
    run = moving.apply()
    assert run is not None and run.state == "done"
    assert moved(moving)
    assert moving.read(*VALUES) == VALUES
    assert moving.traces(but=("agent.py",)) == []
    assert stat.S_IMODE((moving.tree / "conf/hub.yaml").stat().st_mode) == 0o640
    key = [str(moving.folder / "operator.txt")]
    backups = [moving.backup / run.id / name for name in ("0.age", "1.age")]
    assert [decrypt(path.read_bytes(), key, "x") for path in backups] == [HUB.encode(), COMPOSE.encode()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in moving.backup.rglob("*")} == {0o700, 0o600}
    assert moving.apply() is None

    undone = moving.undo(run.id)
    assert (undone.restored, undone.kept) == (("conf/hub.yaml", "docker-compose.yml"), {})
    assert undone.taken_back == tuple(f"fleet/{name}" for name in sorted(VALUES))
    assert moving.files() == moving.originals
    assert not (moving.folder / "secrets.age").exists()
    assert moving.undo(run.id).restored == ()
    again = moving.apply()
    assert again is not None and again.id != run.id and moved(moving) and moving.read(*VALUES) == VALUES


def test_vault_of_both_versions_twice(vault: Bed, prefix: str, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, prefix)
    for attempt in (1, 2):
        run = moving.apply()
        assert run is not None and moved(moving)
        assert moving.read(*VALUES) == VALUES
        expected = {str(2 * attempt - attempt) if prefix == "kv/fleet" else None}
        assert set(run.versions.values()) == expected
        undone = moving.undo(run.id)
        assert undone.kept == {} and moving.files() == moving.originals
        with pytest.raises(ContinuityError, match="deleted" if prefix == "kv/fleet" else "nothing at this path"):
            moving.read("WEB_URL")
    assert moving.traces(but=tuple(moving.originals)) == []


def test_two_logins_as_the_agents_and_one_to_write(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    moving.apply()
    assert len(vault.server.asked("auth/approle/login")) == 2
    writes = [
        request for request in vault.server.requests if request.method in ("POST", "PUT") and "kv/data" in request.path
    ]
    assert len(writes) == len(VALUES)
    assert {request.body["options"]["cas"] for request in writes} == {0}


def test_another_value_stops_everything_before_it_begins(vault: Bed, prefix: str, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, prefix)
    vault.server.administer(
        "POST", f"{prefix.replace('kv/', 'kv/data/')}/WEB_URL", {"data": {"value": "x"}, "value": "x"}
    )
    error = refused(moving)
    assert (error.what, error.where) == ("another value is there already, and is not overwritten", f"{prefix}/WEB_URL")
    assert moving.unfinished() is None
    assert not [
        one for one in vault.server.requests if one.method != "GET" and one.path.startswith(prefix[:3] + "data")
    ]


def test_the_same_value_is_taken_and_stays(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    vault.put("fleet/WEB_URL", value=VALUES["WEB_URL"])
    run = moving.apply()
    assert run is not None and moved(moving)
    undone = moving.undo(run.id)
    assert "kv/fleet/WEB_URL" not in undone.taken_back and len(undone.taken_back) == len(VALUES) - 1
    assert moving.read("WEB_URL") == {"WEB_URL": VALUES["WEB_URL"]}


def test_a_lost_answer_is_no_second_value(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    vault.server.faults.add(faults.reset("kv/data/fleet/TLS_KEY", times=1))
    lost = vault.server.faults.add(faults.reset("(PUT|POST) kv/data/fleet/WEB_URL", times=1))
    run = moving.apply(QuickClock())
    assert lost.hit == 1 and run is not None and set(run.versions.values()) == {"1"}
    assert moved(moving)


@pytest.mark.parametrize(
    ("pattern", "status"),
    [("auth/approle/login", 400), ("GET kv/data", 403), ("(PUT|POST) kv/data", 403), ("kv/metadata", 500), ("", 503)],
)
def test_whatever_vault_refuses_no_file_changes(vault: Bed, tmp_path: Path, pattern: str, status: int) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    vault.server.faults.add(faults.answered(status, pattern, times=None, text=VALUES["WEB_URL"]))
    refused(moving, QuickClock())
    vault.server.faults.clear()
    moving.apply()
    assert moved(moving)


def test_a_refused_writer_tries_once(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    vault.server.administer("POST", "sys/auth/userpass", {"type": "userpass"})
    password = vault.file("password", VALUES["WEB_URL"])
    moving.options["writer"]["auth"] = {"method": "userpass", "username": "operator", "password_file": password}
    assert refused(moving).what.startswith("Vault refuses the login of the writer")
    assert len(vault.server.asked("auth/userpass/login")) == 1


def test_a_refused_write_is_told_as_such(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    vault.server.faults.add(faults.answered(400, "(PUT|POST) kv/data", times=None, text=VALUES["WEB_URL"]))
    assert refused(moving).what == "Vault refuses the request (HTTP 400)"


def test_what_reads_back_otherwise_stops_before_the_first_edit(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")

    def other_value() -> None:
        vault.put("fleet/WEB_URL", value="not what was written")

    vault.server.faults.add(faults.first(other_value, "GET kv/data/fleet/WEB_URL", times=2))
    vault.server.faults.add(faults.answered(404, "GET kv/data/fleet/WEB_URL"))
    refused(moving)


def test_writing_where_somebody_was_first_is_no_overwriting(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    vault.server.faults.add(
        faults.first(lambda: vault.put("fleet/WEB_URL", value="theirs"), "(PUT|POST) kv/data/fleet/W")
    )
    assert "not what the agents' login reads" in refused(moving).what
    assert moving.read("WEB_URL") == {"WEB_URL": "theirs"}
    run = moving.unfinished()
    assert run is not None
    undone = moving.undo(run.id)
    assert undone.kept == {"kv/fleet/WEB_URL": "it was changed after the migration"}
    assert moving.read("WEB_URL") == {"WEB_URL": "theirs"}


def test_a_wrapped_secret_id_is_not_spent(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    moving.options["source"]["auth"] = {"method": "approle", "role_id_file": "x", "wrapped_secret_id_file": "y"}
    assert "wrapped" in refused(moving).what


def test_a_file_that_changed_since_is_kept_with_its_secrets(moving: Moving) -> None:
    run = moving.apply()
    assert run is not None
    hub = moving.tree / "conf/hub.yaml"
    hub.write_bytes(hub.read_bytes() + b"\nmore: 1\n")
    undone = moving.undo(run.id)
    assert undone.restored == ("docker-compose.yml",)
    assert list(undone.kept) == ["conf/hub.yaml"] and "0.age" in undone.kept["conf/hub.yaml"]
    assert undone.taken_back == tuple(f"fleet/{name}" for name in ("HUB_TOKEN", "POSTGRES_PASSWORD", "WEB_URL"))
    assert moving.read("TLS_KEY") == {"TLS_KEY": VALUES["TLS_KEY"]}
    hub.write_bytes(MOVED_HUB.encode())
    undone = moving.undo(run.id)
    assert (undone.restored, undone.kept, len(undone.taken_back)) == (("conf/hub.yaml",), {}, 3)
    assert moving.files() == moving.originals


def test_a_wrong_identity_begins_no_undoing(moving: Moving) -> None:
    run = moving.apply()
    assert run is not None
    (moving.folder / "operator.txt").rename(moving.folder / "right.txt")
    moving.identity("operator.txt")
    with pytest.raises(ContinuityError, match="none of the identities"):
        moving.undo(run.id)
    assert moved(moving) and moving.unfinished() is None
    (moving.folder / "right.txt").rename(moving.folder / "operator.txt")
    assert moving.undo(run.id).kept == {}


def test_a_value_that_may_not_be_deleted_is_told_and_files_come_back(vault: Bed, tmp_path: Path) -> None:
    moving = Moving(tmp_path / "work", vault, "kv/fleet")
    run = moving.apply()
    assert run is not None
    vault.server.faults.add(faults.answered(403, "kv/delete/fleet/WEB_URL", text=VALUES["WEB_URL"]))
    undone = moving.undo(run.id)
    assert list(undone.kept) == ["kv/fleet/WEB_URL"] and VALUES["WEB_URL"] not in str(undone)
    assert moving.files() == moving.originals
    assert moving.undo(run.id).taken_back == ("kv/fleet/WEB_URL",)


def test_what_two_runs_share_stays_until_the_second_is_undone(moving: Moving) -> None:
    first = moving.apply()
    moving.write("more.yml", b"services: {db: {environment: {WEB_URL: 'redis://:Hs48fjCm3vXq@cache:6379/0'}}}\n")
    second = moving.apply()
    assert first is not None and second is not None
    name = second.moves[0].name
    assert name != "WEB_URL", "a name that is in use is given to nobody else"
    assert moving.undo(first.id).kept == {}
    assert moving.read(name) == {name: VALUES["WEB_URL"]}
    assert moving.undo(second.id).taken_back == (f"fleet/{name}",)


def test_files_that_would_not_be_the_same_after_are_left(moving: Moving) -> None:
    os.link(moving.tree / "conf/hub.yaml", moving.folder / "second name")
    assert "hard links" in refused(moving).what
    assert moving.unfinished() is None


def test_mode_owner_and_attributes_stay(moving: Moving) -> None:
    hub = moving.tree / "conf/hub.yaml"
    hub.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(hub, 1234, 4321)
    try:
        os.setxattr(hub, "user.kept", b"yes")
        attributes = {"user.kept": b"yes"}
    except OSError:
        attributes = {}
    moving.apply()
    status = hub.stat()
    assert moved(moving) and stat.S_IMODE(status.st_mode) == 0o400
    assert os.geteuid() != 0 or (status.st_uid, status.st_gid) == (1234, 4321)
    assert {name: os.getxattr(hub, name) for name in os.listxattr(hub) if name.startswith("user.")} == attributes


def test_a_folder_without_the_right_to_write_is_noticed_before_anything_begins(moving: Moving) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    # Once as root: all that is imported on the way is there when somebody else may not look for it.
    moving.apply()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        work = Path(folder, "work")
        work.mkdir()
        os.chown(work, 1234, 1234)
        assert os.waitpid(_as_somebody_else(work), 0)[1] == 0


def _as_somebody_else(work: Path) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(1234)
            os.setuid(1234)
            moving = Moving(work)
            (moving.tree / "conf").chmod(0o500)
            error = refused(moving)
            assert error.what == "nothing can be written beside the file", error
            assert moving.unfinished() is None and not (work / "secrets.age").exists()
            (moving.tree / "conf").chmod(0o700)
            moving.apply()
            assert moved(moving)
            status = 0
        finally:
            os._exit(status)
    return child


def test_a_folder_that_became_a_link_is_not_followed(moving: Moving) -> None:
    (moving.tree / "conf").rename(moving.folder / "elsewhere")
    (moving.tree / "conf").symlink_to(moving.folder / "elsewhere")
    for work in (
        lambda: migration_files.read(str(moving.tree), "conf/hub.yaml"),
        lambda: migration_files.replace(str(moving.tree), "conf/hub.yaml", HUB.encode(), b"", "run"),
    ):
        with pytest.raises(MigrationError):
            work()
    assert (moving.folder / "elsewhere/hub.yaml").read_bytes() == HUB.encode()


def test_a_file_that_changes_while_it_is_replaced_is_not_replaced(moving: Moving) -> None:
    with pytest.raises(MigrationError, match="same time"):
        migration_files.replace(str(moving.tree), "conf/hub.yaml", b"older", b"new", "run")
    assert moving.files() == moving.originals


def test_another_tree_waits_for_the_run_that_was_begun(moving: Moving, tmp_path: Path) -> None:
    (moving.folder / "secrets.age").mkdir()
    with pytest.raises(ContinuityError):
        moving.apply()
    (moving.folder / "secrets.age").rmdir()
    assert moving.unfinished() is None

    moving.options["writer"]["recipients"] = ["age1nothing"]
    refused(moving)
    begun = moving.unfinished()
    assert begun is not None and begun.state == "begun"
    other = Moving(tmp_path / "other")
    other.options = moving.options
    assert "is not finished" in refused(other).what
    moving.options["writer"]["recipients"] = [moving.agents]
    run = moving.apply()
    assert run is not None and run.id == begun.id and moved(moving)


def encrypted_for(moving: Moving, plain: bytes, *keys: str) -> Path:
    path = moving.folder / "secrets.age"
    path.write_bytes(pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(key) for key in keys]))
    path.chmod(0o440)
    return path


def test_what_else_stands_in_an_age_file_stays(moving: Moving) -> None:
    plain = b"# ours\nfleet/other:   {value: 'x'}  # why\n"
    path = encrypted_for(moving, plain, moving.agents)
    run = moving.apply()
    after = decrypt(path.read_bytes(), [str(moving.folder / "agents.txt")], "x")
    assert after.startswith(plain) and after.count(b"\n") == plain.count(b"\n") + len(VALUES)
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert run is not None
    moving.undo(run.id)
    assert decrypt(path.read_bytes(), [str(moving.folder / "agents.txt")], "x") == plain


def test_no_reader_of_an_age_file_loses_it(moving: Moving) -> None:
    path = encrypted_for(moving, b"a: {value: x}\n", moving.agents, moving.identity("second.txt"))
    before = path.read_bytes()
    assert "for more keys" in refused(moving).what
    assert path.read_bytes() == before


def test_an_age_file_that_takes_no_lines_is_left(moving: Moving) -> None:
    path = encrypted_for(moving, b"{a: {value: x}}\n", moving.agents)
    before = path.read_bytes()
    assert "cannot be added" in refused(moving).what
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "value", ["plain", 'it\'s "x" \\ # : {', "zwei\nZeilen\r\n\t", "\x07\x7f\x85\u2028\ufeff😀", "${A}", " x "]
)
def test_any_text_survives_an_age_file(moving: Moving, value: str) -> None:
    source, writer = moving.options["source"], moving.options["writer"]
    made = writers.writer_of(source, writer, QuickClock())
    made.write("fleet/A", Hidden(b"first"))
    made.write("fleet/B", Hidden(value.encode()))
    assert moving.read("A", "B") == {"A": "first", "B": value}
    with pytest.raises(ContinuityError, match="already"):
        made.write("fleet/B", Hidden(b"other"))
    made.take_back("fleet/B", Hidden(value.encode()), None)
    made.take_back("fleet/A", Hidden(b"first"), None)
    with pytest.raises(ContinuityError):
        made.take_back("fleet/A", Hidden(b"first"), None)


def command(moving: Moving, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    settings = moving.folder / "migration.yml"
    settings.write_text(json.dumps(moving.options))
    status = main(["secrets-migrate", "--settings", str(settings), *arguments])
    out, err = capsys.readouterr()
    assert not any(mark.decode() in out + err for mark in MARKS)
    return status, out, err


def test_the_command_plans_applies_and_undoes(moving: Moving, capsys: pytest.CaptureFixture[str]) -> None:
    root = ("--root", str(moving.tree))
    status, out, _err = command(moving, capsys, *root)
    assert status == 1 and "conf/hub.yaml:2: DATABASE_PASSWORD <- database.password (live password)" in out
    assert "left: agent.py:2: default token: it is not in YAML" in out
    assert moving.files() == moving.originals and not moving.backup.exists()
    status, out, _err = command(moving, capsys, *root, "--apply", "--format", "json")
    told = json.loads(out)
    assert status == 0 and moved(moving) and told["state"] == "done"
    assert told["declarations"] == [{"name": name, "path": f"fleet/{name}"} for name in sorted(VALUES)]
    assert [one["reason"] for one in told["left"]] == ["it is not in YAML: read the secret there, then remove it"]
    assert command(moving, capsys, *root)[0] == 0
    assert command(moving, capsys, "--undo", told["run"])[0] == 2
    status, out, _err = command(
        moving, capsys, "--undo", told["run"], "--identity-file", str(moving.folder / "operator.txt")
    )
    assert status == 0 and "restored: conf/hub.yaml" in out and moving.files() == moving.originals


def test_the_command_leaves_accepted_findings(moving: Moving, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = moving.folder / "accepted.yml"
    baseline.write_text("accepted: [{file: 'conf/*', owner: o, reason: r, expires: 2999-01-01}]\n")
    status, out, _err = command(moving, capsys, "--root", str(moving.tree), "--baseline", str(baseline))
    assert status == 1 and "conf/hub.yaml" not in out and "docker-compose.yml" in out


@pytest.mark.parametrize(
    "settings",
    [
        {"prefix": None},
        {"backup": {"folder": "x"}},
        {"backup": {"folder": "/tmp/x", "recipients": ["AGE-SECRET-KEY-1X"]}},
        {"source": {"kind": "sops", "file": "x", "identity_files": []}},
        {"source": {"kind": "none"}},
        {"writer": {"auth": {"method": "token", "token_file": "x"}}},
        {"more": 1},
        {"prefix": "../x"},
    ],
)
def test_settings_that_cannot_be_meant(
    moving: Moving, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
) -> None:
    moving.options.update(settings)
    status, _out, err = command(moving, capsys, "--root", str(moving.tree), "--apply")
    assert status == 2 and err.startswith("continuity secrets-migrate: ")
    assert moving.files() == moving.originals


def test_an_unforeseen_error_shows_no_text(
    moving: Moving, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: Any) -> None:
        raise ValueError(VALUES["WEB_URL"])

    monkeypatch.setattr(migration_files, "_content", fails)
    status, _out, err = command(moving, capsys, "--root", str(moving.tree), "--apply")
    assert status == 2 and "ValueError at fails:" in err
