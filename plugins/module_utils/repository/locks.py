# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers keep out of each other's way; a killed one holds nothing (flock ends with its owner)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Iterator

from ..effects import Clock
from .faults import RepositoryError
from .layout import LARGEST_CONFIG, Repository, canonical, check_host, make_folder, read_published, storing, timestamp

_PAUSE = 0.1


@contextlib.contextmanager
def writing(repository: Repository, host: str, clock: Clock, wait: float) -> Iterator[None]:
    """Be the one writer for ``host``, beside writers for other hosts, while nothing is being deleted.

    Waits up to ``wait`` seconds; then raises RepositoryError that names the owner.
    """
    deadline = clock.monotonic() + wait
    with storing(repository.locks):
        make_folder(repository.locks)
    with _held(repository.locks / "repository.lock", fcntl.LOCK_SH, clock, deadline):
        with _held(repository.locks / f"host-{check_host(host)}.lock", fcntl.LOCK_EX, clock, deadline):
            yield


@contextlib.contextmanager
def sending(repository: Repository, clock: Clock, wait: float) -> Iterator[None]:
    """Be the only one who sends this repository elsewhere. Keeps nobody from writing or deleting."""
    with storing(repository.locks):
        make_folder(repository.locks)
    with _held(repository.locks / "off-site.lock", fcntl.LOCK_EX, clock, clock.monotonic() + wait):
        yield


@contextlib.contextmanager
def maintaining(repository: Repository, clock: Clock, wait: float) -> Iterator[None]:
    """Be the one who prunes or heals, beside readers and writers. Waits like ``writing``."""
    with storing(repository.locks):
        make_folder(repository.locks)
    with _held(repository.locks / "maintenance.lock", fcntl.LOCK_EX, clock, clock.monotonic() + wait):
        yield


@contextlib.contextmanager
def alone(repository: Repository, clock: Clock, wait: float) -> Iterator[None]:
    """Be the only one who changes the repository, for as short as possible. Waits like ``writing``."""
    with _held(repository.locks / "repository.lock", fcntl.LOCK_EX, clock, clock.monotonic() + wait):
        try:
            yield
        finally:
            # Writers share this lock and leave no record in it: an old one would name the wrong owner.
            with contextlib.suppress(FileNotFoundError):
                (repository.locks / "repository.lock.owner").unlink()


@contextlib.contextmanager
def _held(file: Path, kind: int, clock: Clock, deadline: float) -> Iterator[None]:
    with storing(file):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    owner_file = file.with_name(file.name + ".owner")
    try:
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise RepositoryError(f"The lock cannot be taken: {error.strerror}", where=str(file)) from error
            if clock.monotonic() >= deadline:
                raise RepositoryError(
                    f"Somebody else is at work on the repository: {_owner(owner_file)}",
                    where=str(file),
                    fix="Wait for it to end; the lock ends with its owner, there is nothing to remove",
                )
            clock.sleep(_PAUSE)
        if kind == fcntl.LOCK_EX:
            with storing(owner_file):
                _note_owner(owner_file, clock)
        yield
    finally:
        os.close(descriptor)


def _note_owner(file: Path, clock: Clock) -> None:
    """Say who holds the lock, in a file of our own: whatever stood there may have been a pipe, or a link."""
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as stream:
        stream.write(canonical({"machine": os.uname().nodename, "pid": os.getpid(), "since": timestamp(clock.now())}))


def _owner(file: Path) -> str:
    try:
        owner = json.loads(read_published(file, LARGEST_CONFIG))
        return f"process {owner['pid']} on {owner['machine']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "snapshots are being taken, or its owner left no record"
