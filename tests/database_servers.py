# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL and Redis servers from the distribution's packages, on free ports, in folders of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import pytest

PASSWORD = "s3cret-of-the-database"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """A server process and its folder; ``stop`` ends the one and removes the other."""

    def __init__(self, user: str) -> None:
        # Not below a folder of root's: the server runs as somebody else.
        self.folder = Path(tempfile.mkdtemp(prefix="continuity-server-", dir="/var/tmp"))
        self.port = free_port()
        self.identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            found = pwd.getpwnam(user)
            os.chown(self.folder, found.pw_uid, found.pw_gid)
            self.identity = {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self, argv: Sequence[str]) -> None:
        log = (self.folder / "server.log").open("ab")
        self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.folder, **self.identity)
        log.close()
        deadline = time.monotonic() + 60
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self.folder / "server.log").read_text())
            time.sleep(0.05)

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client is served by now."""

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQL(Server):
    """Logs in by password over TCP and by the user of the host over its socket."""

    def __init__(self) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not programs or shutil.which("pg_dump") is None:
            pytest.skip("PostgreSQL is not installed")
        super().__init__("postgres")
        self.user = "postgres" if self.identity else pwd.getpwuid(os.geteuid()).pw_name
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self.identity:
            os.chown(password, self.identity["user"], self.identity["group"])
        made = subprocess.run(
            [
                programs[-1].with_name("initdb"),
                *("--pgdata", self.folder / "data", "--username", self.user, "--pwfile", password),
                *("--auth-local", "peer", "--auth-host", "scram-sha-256", "--no-sync", "--encoding", "UTF8"),
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self.identity,
        )
        if made.returncode != 0:
            shutil.rmtree(self.folder)
            pytest.fail(made.stderr)
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.start([str(programs[-1]), "-D", str(self.folder / "data"), "-k", str(self.folder), *options])

    def answers(self) -> bool:
        return self.run("psql", "-c", "SELECT 1", "postgres", check=False).returncode == 0

    def run(self, program: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A client program, over the socket."""
        return subprocess.run(
            [program, "--host", str(self.folder), "--port", str(self.port), *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=check,
            **self.identity,
        )

    def ask(self, database: str, query: str) -> str:
        return self.run("psql", "-v", "ON_ERROR_STOP=1", "-At", "-c", query, database).stdout.strip()

    def writer(self, database: str) -> subprocess.Popen[str]:
        """A psql that takes statements on its standard input."""
        return subprocess.Popen(
            ["psql", "-q", "--host", str(self.folder), "--port", str(self.port), database],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            **self.identity,
        )

    def password_file(self, path: Path, password: str = PASSWORD) -> str:
        path.write_text(f"127.0.0.1:{self.port}:*:{self.user}:{password}\n")
        path.chmod(0o600)
        return str(path)


class Redis(Server):
    """``rdb`` is a file to start from."""

    def __init__(self, *options: str, rdb: Optional[Path] = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("Redis is not installed")
        super().__init__("nobody")
        if rdb is not None:
            shutil.copyfile(rdb, self.folder / "dump.rdb")
            (self.folder / "dump.rdb").chmod(0o644)
        settings = self.folder / "redis.conf"
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self.folder}\nunixsocket {self.folder}/socket\n"
            f'requirepass {PASSWORD}\nsave ""\n' + "".join(f"{option}\n" for option in options)
        )
        settings.chmod(0o644)
        self.start([program, str(settings)])

    def answers(self) -> bool:
        try:
            return self.ask("PING") == "PONG"
        except OSError:
            return False

    def connect(self) -> tuple[socket.socket, Any]:
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        stream = connection.makefile("rb")
        connection.sendall(f"AUTH {PASSWORD}\r\n".encode())
        assert stream.readline() == b"+OK\r\n"
        return connection, stream

    def ask(self, command: str) -> str:
        """An inline command with a reply of one line or one string."""
        connection, stream = self.connect()
        with connection:
            connection.sendall(command.encode() + b"\r\n")
            reply = stream.readline().decode().strip()
            if reply == "$-1":
                return ""
            return stream.readline().decode().strip() if reply.startswith("$") else reply.lstrip("+:")
