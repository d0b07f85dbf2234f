# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: ``pg_dump`` in its custom format, one transaction's state, read back by ``pg_restore``.

The dump is not compressed: the repository does that, and stores only the blocks that differ from the
dump before. Connections are libpq's; a password comes from a password file alone (``passfile``, or
the ``~/.pgpass`` of the user), so it is in no argument and no environment.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import tempfile
from contextlib import ExitStack

from ..effects import Runner
from .databases import Database, DatabaseError

CONNECT_SECONDS = 15
LOCK_WAIT = "60s"
_HEADER = b"PGDMP"
_SHARED, _PREFIX = "/var/tmp", "continuity-dump-"


def dump(database: Database, path: str, runner: Runner) -> None:
    """Leave the dump in ``path``. Raises DatabaseError."""
    with ExitStack() as stack:
        place, prefix = path, []
        if database.run_as is not None:
            prefix = ["runuser", "-u", database.run_as, "--"]
            place = os.path.join(_folder_of(database, stack), os.path.basename(path))
        _run(
            runner,
            database,
            [
                *prefix,
                "pg_dump",
                "--format=custom",
                "--compress=0",
                "--no-password",
                f"--lock-wait-timeout={LOCK_WAIT}",
                f"--file={place}",
                f"--dbname={conninfo(database)}",
            ],
        )
        if place != path:
            shutil.move(place, path)
            os.chown(path, os.geteuid(), os.getegid())
    os.chmod(path, 0o600)
    _prove(database, path, runner)


def conninfo(database: Database) -> str:
    """The connection string of libpq: what is not given is up to libpq."""
    if database.password_file is not None:
        _check_password_file(database.password_file)
    given = {
        "service": database.service,
        "host": database.host,
        "port": database.port,
        "dbname": database.dbname,
        "user": database.user,
        "passfile": database.password_file,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "fleetops.continuity",
    }
    return " ".join(f"{key}={_quoted(str(value))}" for key, value in given.items() if value is not None)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _check_password_file(path: str) -> None:
    """libpq passes over a file that others may read, and then says only that there is no password."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise DatabaseError(f"The password file cannot be read: {error.strerror}", where=path) from error
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
        raise DatabaseError("Others may read this password file", where=path, fix="Give it mode 0600")


def _folder_of(database: Database, stack: ExitStack) -> str:
    """A folder in which another user may write the dump."""
    try:
        user = pwd.getpwnam(str(database.run_as))
    except KeyError as error:
        raise DatabaseError(f"There is no user {database.run_as!r}", where=database.name) from error
    if os.geteuid() != 0:
        raise DatabaseError("Only root can run pg_dump as another user", where=database.name, fix="Leave out run_as")
    _clear(user.pw_uid)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_SHARED))
    _hold(folder, stack)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def _clear(uid: int) -> None:
    """Remove what killed runs left: their folders are held by nobody."""
    for name in os.listdir(_SHARED):
        folder = os.path.join(_SHARED, name)
        if name.startswith(_PREFIX) and os.lstat(folder).st_uid == uid and not os.path.islink(folder):
            with ExitStack() as stack:
                try:
                    _hold(folder, stack)
                except BlockingIOError:
                    continue
                shutil.rmtree(folder)


def _hold(folder: str, stack: ExitStack) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _prove(database: Database, path: str, runner: Runner) -> None:
    """That the dump is one, and can be read from its first byte to its last."""
    with open(path, "rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            raise DatabaseError("pg_dump left no dump in custom format", where=database.name)
    _run(runner, database, ["pg_restore", "--list", path])
    _run(runner, database, ["pg_restore", "--file=/dev/null", path])


def _run(runner: Runner, database: Database, argv: list[str]) -> None:
    ended = runner.run(argv, timeout=database.timeout)
    if ended.status != 0:
        said = " ".join(ended.stderr.split())[-500:] or f"it ended with status {ended.status}"
        program = next(word for word in argv if word.startswith("pg_"))
        raise DatabaseError(f"{program} failed: {said}", where=database.name)
