# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks made small and plain again; what a block says of its length is never believed."""

from __future__ import annotations

import importlib
import threading
import zlib
from typing import Any, Callable, Optional, Union

from .faults import DamagedError, RepositoryError

NONE, GZIP, ZSTD = 0, 1, 2
NAMES = {NONE: "none", GZIP: "gzip", ZSTD: "zstd"}
LEVEL = 1
HASH_LOG, MIN_MATCH = 15, 6
"""Of Zstandard: what level 1 has for large inputs. Pages of a database get 2 % smaller, the rest stays."""
_GZIP_CONTAINER = 31
Payload = Union[bytes, memoryview]


def _optional(name: str) -> Optional[Any]:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_bundled = _optional("compression.zstd")
_package = None if _bundled else _optional("zstandard")
_own = threading.local()


def _zstd() -> Optional[Callable[[bytes], bytes]]:
    if _bundled is not None:
        bundled = _bundled
        named = bundled.CompressionParameter
        options = {named.compression_level: LEVEL, named.hash_log: HASH_LOG, named.min_match: MIN_MATCH}
        return lambda plain: bytes(bundled.compress(plain, options=options))
    if _package is not None:
        if not hasattr(_own, "compressor"):
            parameters = _package.ZstdCompressionParameters.from_level(LEVEL, hash_log=HASH_LOG, min_match=MIN_MATCH)
            _own.compressor = _package.ZstdCompressor(compression_params=parameters)
        return _own.compressor.compress  # type: ignore[no-any-return]
    return None


def best() -> int:
    """The best compression that this Python can write."""
    return ZSTD if _bundled is not None or _package is not None else GZIP


def compress(plain: bytes, kind: int) -> tuple[int, bytes]:
    """(compression really used, payload): ``NONE`` when compressing gains nothing."""
    packed = plain
    if kind == ZSTD:
        pack = _zstd()
        if pack is None:
            raise RepositoryError("This Python has no Zstandard", fix="Install the Python package zstandard")
        packed = pack(plain)
    elif kind == GZIP:
        engine = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_CONTAINER)
        packed = engine.compress(plain) + engine.flush()
    return (kind, packed) if len(packed) < len(plain) else (NONE, plain)


def expand(kind: int, payload: Payload, length: int) -> Payload:
    """The plain block, of exactly ``length`` bytes; the payload itself when it is not compressed. Raises
    DamagedError; never makes more than that."""
    if kind == NONE:
        plain = payload
    elif kind == GZIP:
        plain = _gunzip(payload, length)
    elif kind == ZSTD:
        plain = _unzstd(payload, length)
    else:
        raise DamagedError(f"Compression {kind} is unknown")
    if len(plain) != length:
        raise DamagedError(f"A block of {length} bytes has another length")
    return plain


def _gunzip(payload: Payload, length: int) -> bytes:
    engine = zlib.decompressobj(_GZIP_CONTAINER)
    try:
        plain = engine.decompress(payload, length + 1)
    except zlib.error as error:
        raise DamagedError(f"A block cannot be decompressed: {error}") from error
    if not engine.eof and len(plain) <= length:
        raise DamagedError("A block ends too early")
    return plain


def _unzstd(payload: Payload, length: int) -> bytes:
    if _bundled is not None:
        try:
            return bytes(_bundled.ZstdDecompressor().decompress(payload, max_length=length + 1))
        except _bundled.ZstdError as error:
            raise DamagedError(f"A block cannot be decompressed: {error}") from error
    if _package is None:
        raise RepositoryError(
            "This repository was written with Zstandard, which this Python does not have",
            fix="Install the Python package zstandard, or follow docs/restore-by-hand.md",
        )
    try:
        declared = _package.frame_content_size(payload)
        if declared not in (-1, length):
            raise DamagedError(f"A block of {length} bytes claims to hold {declared}")
        if not hasattr(_own, "decompressor"):
            _own.decompressor = _package.ZstdDecompressor()
        return bytes(_own.decompressor.decompress(payload, max_output_size=length))
    except _package.ZstdError as error:
        raise DamagedError(f"A block cannot be decompressed: {error}") from error
