# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes numbered lines to a log until it is ended: ``log_writer.py LOG MODE TURN``.

MODE ``keep`` keeps the file open, appending, and opens it anew when the name leads elsewhere (as a
daemon told by logrotate does); ``each`` opens it for every line, and rests now and then; ``stubborn``
never opens it again.
TURN is a lock taken around each line, so that a test can copy and cut in between without losing a
line itself. Prints how many lines were written.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time


def main(log: str, mode: str, turn: str) -> None:
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_arguments: stopped.append(True))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    lock = os.open(turn, os.O_RDWR | os.O_CREAT, 0o600)
    file = os.open(log, flags, 0o600)
    number = 0
    while not stopped:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mode == "keep" and not _leads_to(log, file):
            os.close(file)
            file = -1
        if file < 0:
            file = os.open(log, flags, 0o600)
        line = f"{number:08d} " + "work " * (number % 7)
        # Half a line first: an archive must not end a stretch inside it.
        os.write(file, line[:5].encode())
        os.write(file, (line[5:] + "\n").encode())
        if mode == "each":
            os.close(file)
            file = -1
        fcntl.flock(lock, fcntl.LOCK_UN)
        number += 1
        time.sleep(0.2 if mode == "each" and number % 40 == 0 else 0.0002)
    print(number)


def _leads_to(log: str, file: int) -> bool:
    try:
        named = os.stat(log)
    except FileNotFoundError:
        return False
    opened = os.fstat(file)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


if __name__ == "__main__":
    main(*sys.argv[1:])
