# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rootless supervisord itself: started once, detached from whoever started it, and ended."""

from __future__ import annotations

import os
import pwd
import signal
from typing import Iterator, Optional

from ..effects import Clock, Runner
from ..errors import ContinuityError
from .supervisord_config import Files
from .supervisord_rpc import Connection, NotAnswering

ANSWERS_WITHIN = 15.0
ENDS_WITHIN = 15.0
"""Seconds that a process left behind by a dead supervisord gets to drain."""


def start(files: Files, executable: str, runner: Runner, clock: Clock) -> bool:
    """Have supervisord answer; False when it did before.

    It forks into a session of its own with no inherited file but /dev/null, in an environment that
    does not depend on the caller, so that its agents find the same after every start. What an
    earlier, killed supervisord of the same root left behind is ended first: it still holds the ports.
    """
    if answers(files):
        return False
    if not os.access(executable, os.X_OK):
        raise ContinuityError(
            "supervisord is not there",
            where=executable,
            fix="Install supervisor beside continuity_python, or name it by the supervisor's setting executable",
        )
    _own_folder(os.path.dirname(files.socket))
    daemon = _daemon_pid(files)
    if daemon is None:
        end_orphans(files, clock)
        user = pwd.getpwuid(os.geteuid())
        ended = runner.run(
            [
                "env",
                "-i",
                f"HOME={user.pw_dir}",
                f"USER={user.pw_name}",
                f"LOGNAME={user.pw_name}",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
                executable,
                "-c",
                files.config,
            ],
            timeout=ANSWERS_WITHIN,
        )
        if ended.status != 0 and not answers(files):
            raise ContinuityError(
                f"supervisord did not start: {(ended.stderr or ended.stdout).strip()}", where=files.config
            )
    deadline = clock.monotonic() + ANSWERS_WITHIN
    while not answers(files):
        if clock.monotonic() >= deadline:
            raise ContinuityError(
                f"supervisord runs but does not answer within {ANSWERS_WITHIN:g} s",
                where=files.socket,
                fix=f"Read {files.log}; its process id stands in {files.pid}",
            )
        clock.sleep(0.05)
    return True


def stop(files: Files, clock: Clock, *, timeout: float) -> bool:
    """Shut supervisord down together with its agents, which drain; False when it did not run."""
    if not answers(files):
        return False
    connection = Connection(files.socket)
    pid = connection.call("supervisor.getPID")
    connection.call("supervisor.shutdown")
    connection.close()
    deadline = clock.monotonic() + timeout
    while _exists(pid):
        if clock.monotonic() >= deadline:
            raise ContinuityError(f"supervisord did not end within {timeout:g} s", where=f"process {pid}")
        clock.sleep(0.05)
    return True


def answers(files: Files) -> bool:
    """Whether a supervisord of this root works off requests."""
    connection = Connection(files.socket, timeout=5.0)
    try:
        connection.call("supervisor.getState")
    except NotAnswering:
        return False
    finally:
        connection.close()
    return True


def orphans(files: Files) -> list[int]:
    """Processes that a supervisord of this root started and that outlived it.

    supervisord makes each of them the leader of a process group and gives it SUPERVISOR_SERVER_URL:
    the whole entry must be that of this root's socket. We and our ancestors are never among them.
    """
    mark = os.fsencode(f"SUPERVISOR_SERVER_URL=unix://{files.socket}")
    ourselves = set(_ancestors())
    return [
        pid
        for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
        if pid not in ourselves and mark in _environment(pid) and _leads_group(pid)
    ]


def end_orphans(files: Files, clock: Clock) -> int:
    """Have them drain (SIGTERM), kill what is left after a while; returns how many there were."""
    found = left = orphans(files)
    for pid in found:
        _signal(pid, signal.SIGTERM)
    deadline = clock.monotonic() + ENDS_WITHIN
    while left and clock.monotonic() < deadline:
        clock.sleep(0.05)
        left = [pid for pid in left if _exists(pid)]
    for pid in set(left).intersection(orphans(files)):
        _signal(-pid, signal.SIGKILL)
    return len(found)


def _daemon_pid(files: Files) -> Optional[int]:
    try:
        with open(files.pid, encoding="ascii") as stream:
            pid = int(stream.read())
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            words = stream.read().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(files.config) in words else None


def _own_folder(path: str) -> None:
    os.makedirs(path, mode=0o700, exist_ok=True)
    state = os.stat(path, follow_symlinks=False)
    if state.st_uid != os.geteuid():
        raise ContinuityError("the folder of supervisord's socket belongs to somebody else", where=path)


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            with open(f"/proc/{pid}/stat", "rb") as stream:
                pid = int(stream.read().rpartition(b")")[2].split()[1])
        except OSError:
            return


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return stream.read().split(b"\0")
    except OSError:
        return []


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _exists(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
