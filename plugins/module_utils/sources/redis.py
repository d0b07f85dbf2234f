# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis: its own RDB file, handed over as to a replica.

``SYNC`` makes the server fork, write the state of that moment while clients go on, and send it with
its length. Nothing but a socket is needed. The file carries a CRC-64 over all of its bytes, which is
recomputed from what was written down.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from array import array
from contextlib import closing
from functools import cache
from typing import BinaryIO, Protocol

from ..effects import Runner
from ..journal.durable import write_all
from .databases import Database, DatabaseError

PORT = 6379
CONNECT_SECONDS = 15.0
SILENT_SECONDS = 60.0
_PIECE = 1024 * 1024
_LONGEST_REPLY = 64 * 1024
_MAGIC = b"REDIS"
_END = 0xFF
_TRAILER = 9
"""The end mark and the checksum."""
_POLYNOMIAL = 0x95AC9329AC4BC9B5
"""Jones' polynomial, reflected (crc64.c of Redis)."""


class _Stream(Protocol):
    def readline(self, limit: int, /) -> bytes: ...

    def read(self, size: int, /) -> bytes: ...


def dump(database: Database, path: str, _runner: Runner) -> None:
    """Leave the RDB file in ``path``. Raises DatabaseError, OSError."""
    try:
        with closing(_connect(database)) as connection:
            # While the server writes the file it says so every second, with an empty line.
            connection.settimeout(SILENT_SECONDS)
            with connection.makefile("rb") as stream:
                _log_in(database, connection, stream)
                connection.sendall(b"*1\r\n$4\r\nSYNC\r\n")
                _receive(database, stream, path)
    except socket.timeout as error:
        raise DatabaseError(f"It did not answer within {SILENT_SECONDS:g} s", where=database.name) from error
    prove(database.name, path)


def _connect(database: Database) -> socket.socket:
    place = database.socket or f"{database.host or '127.0.0.1'}:{database.port or PORT}"
    try:
        if database.socket is not None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(database.socket)
            return connection
        host = database.host or "127.0.0.1"
        connection = socket.create_connection((host, database.port or PORT), CONNECT_SECONDS)
        if database.ca_file is None:
            return connection
        return ssl.create_default_context(cafile=database.ca_file).wrap_socket(connection, server_hostname=host)
    except OSError as error:
        raise DatabaseError(f"Cannot connect to {place}: {error}", where=database.name) from error


def _log_in(database: Database, connection: socket.socket, stream: _Stream) -> None:
    if database.password_file is None:
        return
    try:
        with open(database.password_file, "rb") as file:
            password = file.readline().rstrip(b"\r\n")
    except OSError as error:
        raise DatabaseError(
            f"The password file cannot be read: {error.strerror}", where=database.password_file
        ) from error
    words = [b"AUTH", *([database.user.encode()] if database.user else []), password]
    connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    reply = stream.readline(_LONGEST_REPLY)
    if reply != b"+OK\r\n":
        raise DatabaseError(f"It refuses the password: {_text(reply)}", where=database.name)


def _receive(database: Database, stream: _Stream, path: str) -> None:
    deadline = time.monotonic() + database.timeout
    reply = b"\n"
    while reply == b"\n":
        _check(deadline, database)
        reply = stream.readline(_LONGEST_REPLY)
    if not reply.startswith(b"$") or not reply[1:].strip().isdigit():
        fix = "Give the password file" if reply.startswith(b"-NOAUTH") else None
        raise DatabaseError(f"It does not hand over its data: {_text(reply)}", where=database.name, fix=fix)
    left = int(reply[1:])
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while left:
            _check(deadline, database)
            piece = stream.read(min(_PIECE, left))
            if not piece:
                raise DatabaseError(f"It closed the connection {left} bytes too early", where=database.name)
            write_all(descriptor, piece)
            left -= len(piece)
    finally:
        os.close(descriptor)


def _check(deadline: float, database: Database) -> None:
    if time.monotonic() > deadline:
        raise DatabaseError(f"Its dump did not end within {database.timeout:g} s", where=database.name)


def _text(reply: bytes) -> str:
    return reply.decode("utf-8", "replace").strip() or "it closed the connection"


def prove(name: str, path: str) -> None:
    """That a file is a whole RDB file with the right checksum. Raises DatabaseError."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < len(_MAGIC) + 4 + _TRAILER or file.read(len(_MAGIC)) != _MAGIC or not file.read(4).isdigit():
            raise DatabaseError("This is not an RDB file", where=name)
        file.seek(size - _TRAILER)
        trailer = file.read(_TRAILER)
        if trailer[0] != _END:
            raise DatabaseError("This RDB file has no end", where=name)
        (noted,) = struct.unpack("<Q", trailer[1:])
        file.seek(0)
        # Zero says that the server computes none (rdbchecksum no): then its length and its end must do.
        if noted and noted != crc64(file, size - len(trailer) + 1):
            raise DatabaseError(
                "The checksum of this RDB file is wrong", where=name, fix="Run again; check the network"
            )


def crc64(file: BinaryIO, length: int) -> int:
    """CRC-64 of the next bytes of a file, eight at a time by four tables."""
    lowest, low, high, highest = _tables()
    checksum = 0
    while length:
        piece = file.read(min(_PIECE, length))
        if not piece:
            return checksum
        length -= len(piece)
        whole = len(piece) // 8 * 8
        for (word,) in struct.iter_unpack("<Q", piece[:whole]):
            word ^= checksum
            checksum = (
                lowest[word & 0xFFFF] ^ low[word >> 16 & 0xFFFF] ^ high[word >> 32 & 0xFFFF] ^ highest[word >> 48]
            )
        for byte in piece[whole:]:
            checksum = _byte(checksum ^ byte, checksum)
    return checksum


def _byte(index: int, checksum: int) -> int:
    value = index & 0xFF
    for _bit in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value ^ checksum >> 8


@cache
def _tables() -> list[array[int]]:
    """For each of the four 16-bit words of eight bytes, what it adds to the checksum."""
    bytewise = [_byte(value, 0) for value in range(256)]

    def step(value: int) -> int:
        return bytewise[value & 0xFF] ^ value >> 8

    tables = [array("Q", (step(step(value)) for value in range(65536)))]
    for _word in range(3):
        tables.insert(0, array("Q", (step(step(value)) for value in tables[0])))
    return tables
