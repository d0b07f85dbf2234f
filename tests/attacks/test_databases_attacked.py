# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots with databases are killed, and servers hang up on them, at moments that nobody chose.

``CONTINUITY_ATTACKS`` says how often; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from database_servers import PASSWORD, PostgreSQL, Redis

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.sources import redis
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.databases import Database
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner

ATTACKS = int(os.environ.get("CONTINUITY_ATTACKS", "3"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main; sys.exit(main())"
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    server.ask(
        "postgres", "CREATE TABLE large AS SELECT id, repeat(md5(id::text), 30) FROM generate_series(1, 9000) id"
    )
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Redis]:
    server = Redis("enable-debug-command yes", "repl-diskless-sync-delay 0")
    server.ask("DEBUG POPULATE 5000 key 200")
    yield server
    server.stop()


@pytest.fixture
def declared(postgres: PostgreSQL, redis_server: Redis, tmp_path: Path) -> list[dict[str, object]]:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    orders = {"name": "orders", "type": "postgresql", "port": postgres.port, "dbname": "postgres"}
    if postgres.identity:
        orders |= {"host": str(postgres.folder), "run_as": "postgres"}
    else:
        orders |= {"host": "127.0.0.1", "user": postgres.user}
        orders["password_file"] = postgres.password_file(tmp_path / "pgpass")
    cache = {"name": "cache", "type": "redis", "port": redis_server.port, "password_file": str(password)}
    return [orders, cache]


def test_killed_at_any_moment(declared: list[dict[str, object]], tmp_path: Path) -> None:
    chance = random.Random(SEED)
    tree, repository, databases = tmp_path / "tree", tmp_path / "repository", tmp_path / "databases.json"
    tree.mkdir()
    databases.write_text(json.dumps(declared))
    wanted = ["snapshot", "--repository", repository, "--host", "pc2", "--databases", databases, tree]
    command = [sys.executable, "-c", PROGRAM, COLLECTIONS, *map(str, wanted)]
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole, killed = time.monotonic() - begun, 0
    for _round in range(ATTACKS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.1, whole))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.wait()
        assert snapshots.verify_repository(str(repository)).faults() == [], f"ATTACK_SEED={SEED}"
    assert killed, f"nothing was killed: ATTACK_SEED={SEED}"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert snapshots.verify_repository(str(repository)).faults() == []
    assert list(repository.glob("tmp/*/*")) == [] and list(Path("/var/tmp").glob("continuity-dump-*")) == []
    snapshots.restore_snapshot(str(repository), "latest", target=str(tmp_path / "target"))
    redis.prove("cache", f"{tmp_path}/target/databases/cache.rdb")


def test_a_server_that_hangs_up_is_named_and_leaves_no_half_dump(
    declared: list[dict[str, object]], postgres: PostgreSQL, redis_server: Redis, tmp_path: Path
) -> None:
    """Every dump that a snapshot holds is whole; every other one is named."""
    chance = random.Random(SEED)
    (tmp_path / "tree").mkdir()
    repository, named = str(tmp_path / "repository"), 0
    wanted = snapshots.Wanted(
        host="pc2",
        sources=(str(tmp_path / "tree"),),
        databases=tuple(Database.from_fields(one) for one in declared),
    )
    redis_server.ask("CONFIG SET rdb-key-save-delay 20")

    def hang_up_on_postgres() -> None:
        postgres.ask(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fleetops.continuity'",
        )

    def hang_up_on_redis() -> None:
        redis_server.ask("CLIENT KILL TYPE replica")

    for _round in range(ATTACKS):
        with _meanwhile(chance.choice((hang_up_on_postgres, hang_up_on_redis))):
            taken = snapshots.take_snapshot(repository, wanted, SystemClock(), runner=LocalRunner())
        named += len(taken.problems)
        assert {one.kind for one in taken.problems} <= {"postgresql", "redis"}
        held = {entry["path"]: entry for entry in snapshots.list_entries(repository, "latest")}
        missing = {one.path.decode() for one in taken.problems}
        assert missing | {path for path in held if path.startswith("/databases/")} == {
            "/databases/orders.pgdump",
            "/databases/cache.rdb",
        }
        target = tmp_path / f"target-{_round}"
        snapshots.restore_snapshot(repository, "latest", target=str(target))
        if "/databases/cache.rdb" not in missing:
            redis.prove("cache", f"{target}/databases/cache.rdb")
        if "/databases/orders.pgdump" not in missing:
            listed = subprocess.run(
                ["pg_restore", "--file=/dev/null", f"{target}/databases/orders.pgdump"],
                check=False,
                capture_output=True,
            )
            assert listed.returncode == 0, listed.stderr.decode()
    redis_server.ask("CONFIG SET rdb-key-save-delay 0")
    assert named, f"nobody was hung up on: ATTACK_SEED={SEED}"


class _meanwhile:
    """Does something again and again in another thread."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act, self._over = act, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.02):
            self._act()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()
