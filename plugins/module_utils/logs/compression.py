# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams made small and plain again."""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Protocol

from ..errors import ContinuityError

SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
LEVELS: Mapping[str, Mapping[str, int]] = {
    "gzip": {"low": 1, "normal": 6, "high": 9},
    "zstd": {"low": 1, "normal": 3, "high": 19},
}
HIGHEST = {"gzip": 9, "zstd": 22}
_GZIP_CONTAINER = 31


class CompressionError(ContinuityError):
    """A compression that is not to be had, or content that cannot be decompressed."""


class Compressor(Protocol):
    def compress(self, plain: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def level_of(compression: str, wanted: str) -> int:
    """The number of a level (``low normal high``, or a number as text)."""
    named = LEVELS[compression].get(wanted)
    if named is not None:
        return named
    if not wanted.isdecimal() or not 1 <= int(wanted) <= HIGHEST[compression]:
        raise CompressionError(
            f"{compression} has no compression level {wanted!r}",
            fix=f"Choose low, normal, high or a number from 1 to {HIGHEST[compression]}",
        )
    return int(wanted)


def compressor(compression: str, level: int) -> Compressor:
    if compression == "gzip":
        return zlib.compressobj(level, zlib.DEFLATED, _GZIP_CONTAINER)
    made: Compressor = (
        _BUNDLED.ZstdCompressor(level) if _BUNDLED is not None else _zstandard().ZstdCompressor(level).compressobj()
    )
    return made


def expanded(pieces: Iterable[bytes], compression: str, name: str) -> Iterator[bytes]:
    """The plain bytes of a whole compressed stream. Raises CompressionError naming ``name``."""
    engine: Any = None
    for piece in pieces:
        while piece:
            engine = engine or _DECOMPRESSORS[compression]()
            try:
                plain = engine.decompress(piece)
            except _DAMAGED as error:
                raise CompressionError(f"This {compression} stream is damaged: {error}", where=name) from error
            if plain:
                yield plain
            piece, engine = (engine.unused_data, None) if engine.eof else (b"", engine)
    if engine is not None:
        raise CompressionError(f"This {compression} stream ends too early", where=name)


def _optional(name: str) -> Optional[Any]:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_BUNDLED = _optional("compression.zstd")
_PACKAGE = None if _BUNDLED else _optional("zstandard")


_ZSTD = _BUNDLED or _PACKAGE
_DAMAGED: tuple[type[Exception], ...] = (zlib.error, OSError, lzma.LZMAError, *((_ZSTD.ZstdError,) if _ZSTD else ()))


def _zstandard() -> Any:
    if _PACKAGE is None:
        raise CompressionError("This Python has no Zstandard", fix="Install the Python package zstandard, or use gzip")
    return _PACKAGE


def _zstd_decompressor() -> Any:
    return _BUNDLED.ZstdDecompressor() if _BUNDLED is not None else _zstandard().ZstdDecompressor().decompressobj()


_DECOMPRESSORS: Mapping[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(_GZIP_CONTAINER),
    "zstd": _zstd_decompressor,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}
