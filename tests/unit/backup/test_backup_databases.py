# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases behind real servers: their dumps lie where a person looks for them, and can be read back."""

from __future__ import annotations

import sys
from pathlib import Path

from small_host import SmallHost, report_of

from ansible_collections.fleetops.continuity.plugins.module_utils.backup import verifying
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.databases import Database

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from database_servers import PASSWORD, PostgreSQL, Redis


def test_dumps_of_servers_lie_among_the_databases(host: SmallHost) -> None:
    postgresql, redis = PostgreSQL(), None
    try:
        redis = Redis()
        postgresql.run("createdb", "orders")
        postgresql.ask("orders", "CREATE TABLE orders (id int); INSERT INTO orders VALUES (42)")
        assert redis.ask("SET answer 42") == "OK"
        (host.folder / "redis.password").write_text(PASSWORD)
        declared = (
            Database(
                "orders",
                "postgresql",
                host="127.0.0.1",
                port=postgresql.port,
                dbname="orders",
                user=postgresql.user,
                password_file=postgresql.password_file(host.folder / "pgpass"),
            ),
            Database("cache", "redis", port=redis.port, password_file=str(host.folder / "redis.password")),
        )
        planned = host.make(check=True, databases=declared).planned
        made = host.make(databases=declared)
        report = report_of(made)
        folder = Path(f"{made.backup.folder}/database{host.folder}/databases")
        assert report["status"] == "SUCCESS" and verifying.verify(made.backup) == []
        assert {f"database{host.folder}/databases/{name}" for name in ("orders.pgdump", "cache.rdb")} <= set(planned)
        kinds = {copy["kind"]: copy["compared_with"] for copy in report["catalogue"] if "databases/" in copy["path"]}
        assert kinds == {"postgresql": "snapshot", "redis": "snapshot"}

        postgresql.run("createdb", "restored")
        dump = postgresql.folder / "orders.pgdump"
        dump.write_bytes((folder / "orders.pgdump").read_bytes())
        dump.chmod(0o644)
        postgresql.run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", "restored", dump)
        assert postgresql.ask("restored", "SELECT id FROM orders") == "42"
        again = Redis(rdb=folder / "cache.rdb")
        try:
            assert again.ask("GET answer") == "42"
        finally:
            again.stop()

        redis.stop()
        partial = report_of(host.make(databases=declared))
        assert partial["status"] == "PARTIAL"
        assert [(one["path"].rpartition("/")[2], one["kind"]) for one in partial["problems"]] == [
            ("cache.rdb", "redis")
        ]
    finally:
        postgresql.stop()
        if redis is not None:
            redis.stop()
