# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.repository import compression
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import DamagedError

KINDS = [compression.NONE, compression.GZIP, *([compression.ZSTD] if compression.best() == compression.ZSTD else [])]


@pytest.mark.parametrize("kind", KINDS)
@given(plain=st.one_of(st.binary(max_size=2000), st.binary(min_size=1, max_size=3).map(lambda part: part * 5000)))
def test_blocks_come_back_and_are_never_larger(kind: int, plain: bytes) -> None:
    used, payload = compression.compress(plain, kind)
    assert compression.expand(used, payload, len(plain)) == plain
    assert len(payload) <= len(plain)
    assert compression.compress(plain, kind) == (used, payload)


def test_gzip_is_what_the_gzip_command_reads() -> None:
    used, payload = compression.compress(b"line\n" * 1000, compression.GZIP)
    assert used == compression.GZIP
    assert gzip.decompress(payload) == b"line\n" * 1000


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != compression.NONE])
def test_a_bomb_is_refused_without_being_unpacked(kind: int) -> None:
    _unused, payload = compression.compress(bytes(50_000_000), kind)
    with pytest.raises(DamagedError):
        compression.expand(kind, payload, 4096)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoil", [lambda payload: payload[:-1], lambda payload: payload[1:], lambda payload: b""])
def test_a_block_that_was_cut_is_refused(kind: int, spoil: object) -> None:
    used, payload = compression.compress(bytes(range(250)) * 20, kind)
    with pytest.raises(DamagedError):
        compression.expand(used, spoil(payload), 5000)  # type: ignore[operator]


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(DamagedError, match="9 is unknown"):
        compression.expand(9, zlib.compress(b"x"), 1)
