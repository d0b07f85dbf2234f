# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to a ZeroMQ REP socket over a plain stream, so that no host needs a ZeroMQ library.

Protocol: ZMTP 3.0 with the NULL mechanism, https://rfc.zeromq.org/spec/23/.
"""

from __future__ import annotations

import asyncio
import struct

MORE, LONG, COMMAND = 1, 2, 4
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


class ProtocolError(Exception):
    """The peer does not speak ZMTP 3 with the NULL mechanism, or its answer is too long."""


async def request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes, *, limit: int) -> bytes:
    """The first frame of the reply (at most ``limit`` bytes). Raises ProtocolError, OSError, EOFError."""
    writer.write(GREETING)
    greeting = await reader.readexactly(64)
    if greeting[0] != 0xFF or greeting[9] != 0x7F or greeting[10] < 3:
        raise ProtocolError("the peer does not speak ZMTP 3")
    if greeting[12:32].rstrip(b"\0") != b"NULL":
        raise ProtocolError(
            f"the peer wants the security mechanism {greeting[12:32].rstrip(bytes(1)).decode('ascii', 'replace')}"
        )
    writer.write(_frame(COMMAND, b"\x05READY" + _property(b"Socket-Type", b"REQ") + _property(b"Identity", b"")))
    flags, body = await _read_frame(reader, limit)
    if not flags & COMMAND or not body.startswith(b"\x05READY"):
        raise ProtocolError("the peer refused the handshake")
    if b"\x0bSocket-Type\x00\x00\x00\x03REP" not in body and b"\x0bSocket-Type\x00\x00\x00\x06ROUTER" not in body:
        raise ProtocolError("the peer is no REP socket")
    writer.write(_frame(MORE, b"") + _frame(0, message))
    while True:
        flags, body = await _read_frame(reader, limit)
        if not flags & COMMAND and (body or not flags & MORE):
            return body


def _property(name: bytes, value: bytes) -> bytes:
    return struct.pack("!B", len(name)) + name + struct.pack("!I", len(value)) + value


def _frame(flags: int, body: bytes) -> bytes:
    if len(body) > 255:
        return struct.pack("!BQ", flags | LONG, len(body)) + body
    return struct.pack("!BB", flags, len(body)) + body


async def _read_frame(reader: asyncio.StreamReader, limit: int) -> tuple[int, bytes]:
    flags = (await reader.readexactly(1))[0]
    (size,) = struct.unpack("!Q", await reader.readexactly(8)) if flags & LONG else await reader.readexactly(1)
    if size > limit:
        raise ProtocolError(f"the answer is longer than {limit} bytes")
    return flags, await reader.readexactly(size)
