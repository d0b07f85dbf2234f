# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases behind real servers, dumped while they are written, restored into real servers."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from database_servers import PASSWORD, PostgreSQL, Redis, free_port

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import CompletedRun, SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.taking import Outcome
from ansible_collections.fleetops.continuity.plugins.module_utils.sources import postgresql, redis
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.databases import Database, DatabaseError
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Redis]:
    server = Redis()
    yield server
    server.stop()


class Told(LocalRunner):
    """Runs programs, and remembers what they were told."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def run(self, argv: Sequence[str], *, stdin: Optional[str] = None, timeout: float = 60.0) -> CompletedRun:
        self.words += argv
        return super().run(argv, stdin=stdin, timeout=timeout)


class Place:
    """A tree, a repository, and where things are restored to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tree, self.repository = folder, folder / "tree", str(folder / "repository")
        self.tree.mkdir()
        (self.tree / "file").write_text("a file beside the databases")
        self.runner = Told()

    def take(self, *databases: Database, **options: Any) -> Outcome:
        wanted = snapshots.Wanted(
            host="pc2", sources=(str(self.tree),), databases=databases, database_folder=str(self.folder / "databases")
        )
        taken = snapshots.take_snapshot(self.repository, wanted, SystemClock(), runner=self.runner, **options)
        assert list(Path(self.repository, "tmp").glob("*/*")) == []
        return taken

    def restored(self, name: str) -> Path:
        target = self.folder / "target"
        shutil.rmtree(target, ignore_errors=True)
        snapshots.restore_snapshot(self.repository, "latest", target=str(target))
        return Path(f"{target}{self.folder}/databases/{name}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def declared(postgres: PostgreSQL, dbname: str, tmp_path: Path, password: str = PASSWORD) -> Database:
    return Database(
        name="orders",
        type="postgresql",
        host="127.0.0.1",
        port=postgres.port,
        dbname=dbname,
        user=postgres.user,
        password_file=postgres.password_file(tmp_path / f"pgpass-{len(password)}", password),
    )


def problems(outcome: Outcome) -> list[tuple[str, str]]:
    return [(one.kind, one.message) for one in outcome.problems]


def test_postgresql_is_consistent_while_it_is_written(postgres: PostgreSQL, place: Place) -> None:
    """Money moves between accounts all the time; in every dump the sum is the same."""
    postgres.ask("postgres", "CREATE DATABASE bank")
    postgres.ask("bank", "CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL)")
    postgres.ask("bank", "INSERT INTO account SELECT id, 1000 FROM generate_series(1, 500) id")
    postgres.ask("bank", "CREATE TABLE large (id int, note text)")
    postgres.ask("bank", "INSERT INTO large SELECT id, repeat(md5(id::text), 20) FROM generate_series(1, 3000) id")
    writer, over = postgres.writer("bank"), threading.Event()

    def move() -> None:
        assert writer.stdin is not None
        while not over.is_set():
            one, other = random.sample(range(1, 501), 2)
            writer.stdin.write(
                f"BEGIN; UPDATE account SET amount = amount - 7 WHERE id = {one};"
                f"UPDATE account SET amount = amount + 7 WHERE id = {other}; COMMIT;\n"
            )
            writer.stdin.flush()

    mover = threading.Thread(target=move)
    mover.start()
    try:
        sums = []
        for number in range(3):
            taken = place.take(declared(postgres, "bank", place.folder))
            assert problems(taken) == [] and taken.published
            postgres.ask("postgres", f"CREATE DATABASE restored{number}")
            dump = place.restored("orders.pgdump").read_bytes()
            subprocess.run(
                [
                    *("pg_restore", "--exit-on-error", "--host", postgres.folder, "--port", str(postgres.port)),
                    *("--dbname", f"restored{number}"),
                ],
                input=dump,
                check=True,
                **postgres.identity,
            )
            sums.append(postgres.ask(f"restored{number}", "SELECT sum(amount), count(*) FROM account"))
            assert postgres.ask(f"restored{number}", "SELECT count(*) FROM large") == "3000"
    finally:
        over.set()
        mover.join()
        writer.communicate()
    assert sums == ["500000|500"] * 3
    assert postgres.ask("bank", "SELECT count(*) > 3 FROM account WHERE amount <> 1000") == "t"
    # What did not change is stored once: the large table is 2 MB in each of the three dumps.
    assert taken.bytes_stored < 0.5 * len(dump)
    assert not any(PASSWORD in word for word in place.runner.words)
    assert snapshots.verify_repository(place.repository).faults() == []
    assert snapshots.compare_tree(place.repository, "latest", "/").faults() == []


def test_postgresql_by_the_user_of_the_host(postgres: PostgreSQL, place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run pg_dump as another user")
    wanted = Database(
        name="orders", type="postgresql", host=str(postgres.folder), port=postgres.port, run_as="postgres"
    )
    postgres.ask("postgres", "CREATE TABLE IF NOT EXISTS something (id int)")
    left = Path("/var/tmp/continuity-dump-left-by-a-killed-run")
    left.mkdir()
    os.chown(left, postgres.identity["user"], postgres.identity["group"])
    assert problems(place.take(wanted)) == []
    assert place.restored("orders.pgdump").read_bytes().startswith(b"PGDMP")
    assert list(Path("/var/tmp").glob("continuity-dump-*")) == []


def test_postgresql_by_service(postgres: PostgreSQL, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    services = place.folder / "pg_service.conf"
    services.write_text(f"[orders]\nhost=127.0.0.1\nport={postgres.port}\nuser={postgres.user}\ndbname=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    postgres.ask("postgres", "CREATE TABLE IF NOT EXISTS something (id int)")
    password = postgres.password_file(place.folder / "pgpass")
    taken = place.take(Database(name="orders", type="postgresql", service="orders", password_file=password))
    assert problems(taken) == []


def test_a_database_that_cannot_be_dumped_does_not_stop_the_rest(postgres: PostgreSQL, place: Place) -> None:
    refused = declared(postgres, "postgres", place.folder, password="wrong")
    for wanted, said in (
        (refused, "password authentication failed"),
        (declared(postgres, "no such 'database\\", place.folder), 'database "no such \'database\\" does not exist'),
        (Database(name="orders", type="postgresql", host="127.0.0.1", port=free_port()), "Connection refused"),
        (Database(name="orders", type="redis", port=free_port()), "Cannot connect to 127.0.0.1"),
    ):
        taken = place.take(wanted)
        ((kind, message),) = problems(taken)
        assert kind == wanted.type and said in message and taken.totals["files"] == 1, message
    assert snapshots.incomplete(taken)


def test_a_password_file_that_others_may_read_is_refused(postgres: PostgreSQL, place: Place) -> None:
    wanted = declared(postgres, "postgres", place.folder)
    Path(str(wanted.password_file)).chmod(0o644)
    assert "Others may read this password file" in problems(place.take(wanted))[0][1]


@pytest.mark.parametrize("way", ["tcp", "socket", "acl"])
def test_redis_is_consistent_while_it_is_written(redis_server: Redis, place: Place, way: str) -> None:
    """Two counters rise together in one transaction; in every RDB they are equal."""
    password = place.folder / "password"
    password.write_text(PASSWORD + "\n")
    user = None
    if way == "acl":
        user = "copier"
        redis_server.ask(f"ACL SETUSER copier reset on >{PASSWORD} +auth +sync +psync")
    wanted = Database(
        name="cache",
        type="redis",
        port=None if way == "socket" else redis_server.port,
        socket=str(redis_server.folder / "socket") if way == "socket" else None,
        user=user,
        password_file=str(password),
    )
    redis_server.ask("FLUSHALL")
    over = threading.Event()

    def count() -> None:
        connection, stream = redis_server.connect()
        with connection:
            while not over.is_set():
                connection.sendall(b"MULTI\r\nINCR one\r\nINCR two\r\nEXEC\r\n")
                for _reply in range(6):
                    stream.readline()

    counter = threading.Thread(target=count)
    counter.start()
    try:
        while int(redis_server.ask("GET one") or 0) < 100:
            continue
        first = problems(place.take(wanted))
        before = int(redis_server.ask("GET two"))
        second = problems(place.take(wanted))
    finally:
        over.set()
        counter.join()
    assert first == second == []
    dump = place.restored("cache.rdb")
    checked = subprocess.run(["redis-check-rdb", dump], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    restored = Redis(rdb=dump)
    try:
        one, two = int(restored.ask("GET one")), int(restored.ask("GET two"))
    finally:
        restored.stop()
    assert one == two >= before > 100


def test_redis_over_tls(place: Place) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    keys = Path("/var/tmp") / f"continuity-keys-{os.getpid()}"
    keys.mkdir()
    password = place.folder / "password"
    password.write_text(PASSWORD)
    port = free_port()
    try:
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
                *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", keys / "key", "-out", keys / "certificate"),
            ],
            check=True,
            capture_output=True,
        )
        (keys / "key").chmod(0o644)
        server = Redis(
            f"tls-port {port}",
            f"tls-cert-file {keys}/certificate",
            f"tls-key-file {keys}/key",
            f"tls-ca-cert-file {keys}/certificate",
            "tls-auth-clients no",
        )
        try:
            server.ask("SET key value")
            wanted = Database(
                name="cache", type="redis", port=port, ca_file=f"{keys}/certificate", password_file=str(password)
            )
            assert problems(place.take(wanted)) == []
            stranger = Database(
                name="cache", type="redis", port=port, ca_file="/etc/ssl/certs/ca-certificates.crt", host="127.0.0.1"
            )
            assert "certificate verify failed" in problems(place.take(stranger))[0][1]
        finally:
            server.stop()
    finally:
        shutil.rmtree(keys)


def test_redis_that_wants_a_password(redis_server: Redis, place: Place) -> None:
    assert "NOAUTH" in problems(place.take(Database(name="cache", type="redis", port=redis_server.port)))[0][1]
    wrong = place.folder / "wrong"
    wrong.write_text("nothing-of-that-kind")
    taken = place.take(Database(name="cache", type="redis", port=redis_server.port, password_file=str(wrong)))
    assert "refuses the password" in problems(taken)[0][1] and "nothing-of-that-kind" not in problems(taken)[0][1]


def test_a_redis_that_takes_too_long(redis_server: Redis, place: Place) -> None:
    password = place.folder / "password"
    password.write_text(PASSWORD)
    for number in range(15):
        redis_server.ask(f"SET key{number} value")
    redis_server.ask("CONFIG SET rdb-key-save-delay 100000")
    try:
        slow = Database(name="cache", type="redis", port=redis_server.port, password_file=str(password), timeout=0.5)
        ((kind, message),) = problems(place.take(slow))
    finally:
        redis_server.ask("CONFIG SET rdb-key-save-delay 0")
        redis_server.ask("FLUSHALL")
    assert kind == "redis" and "did not end within 0.5 s" in message


def test_every_changed_bit_of_an_rdb_is_noticed(redis_server: Redis, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    redis_server.ask("SET large " + "x" * 5000)
    dump = tmp_path / "dump.rdb"
    wanted = Database(name="cache", type="redis", port=redis_server.port, password_file=str(password))
    redis.dump(wanted, str(dump), LocalRunner())
    sound = dump.read_bytes()
    chance = random.Random(7)
    for position in [0, 5, len(sound) - 1, *chance.sample(range(len(sound)), 30)]:
        spoiled = bytearray(sound)
        spoiled[position] ^= 1 << chance.randrange(8)
        dump.write_bytes(bytes(spoiled))
        with pytest.raises(DatabaseError):
            redis.prove("cache", str(dump))
    dump.write_bytes(sound[:-20])
    with pytest.raises(DatabaseError):
        redis.prove("cache", str(dump))


def test_the_command_takes_declared_databases(
    redis_server: Redis, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    password = place.folder / "password"
    password.write_text(PASSWORD)
    declarations = place.folder / "databases.json"
    declarations.write_text(
        json.dumps([{"name": "cache", "type": "redis", "port": redis_server.port, "password_file": str(password)}])
    )
    wanted = ["snapshot", "--repository", place.repository, "--root", str(place.folder), "--host", "pc2"]
    assert main([*wanted, "--databases", str(declarations), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"]
    assert place.restored("cache.rdb").read_bytes().startswith(b"REDIS")
    declarations.write_text('[{"name": "cache", "type": "oracle"}]')
    assert main([*wanted, "--databases", str(declarations)]) == 2
    assert "Unknown type 'oracle'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "../up", "type": "redis"}, "cannot be the name"),
        ({"type": "redis"}, "cannot be the name"),
        ({"name": "x", "type": "redis", "dbname": "y"}, "dbname is for postgresql only"),
        ({"name": "x", "type": "postgresql", "socket": "/y"}, "socket is for redis only"),
        ({"name": "x", "type": "redis", "password": "y"}, "A database has no password"),
    ],
)
def test_a_declaration_that_is_wrong(fields: dict[str, str], said: str) -> None:
    with pytest.raises(DatabaseError, match=said):
        Database.from_fields(fields)


def test_two_databases_of_one_name(place: Place) -> None:
    one = Database(name="x", type="redis", port=1)
    with pytest.raises(DatabaseError, match="the same name"):
        place.take(one, one)


def test_values_of_a_connection_are_quoted() -> None:
    assert "dbname='it\\'s \\\\ here'" in postgresql.conninfo(
        Database(name="x", type="postgresql", dbname="it's \\ here")
    )
