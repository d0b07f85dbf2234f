# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.repository.window import Window

CONTENT = os.urandom(3000)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("window") / "file"
    file.write_bytes(CONTENT)
    return file


@given(
    pieces=st.lists(st.tuples(st.integers(0, 3200), st.integers(0, 800)), max_size=30),
    size=st.integers(1, 500),
)
def test_every_piece_is_what_stands_there_in_whatever_order(
    file: Path, pieces: list[tuple[int, int]], size: int
) -> None:
    with open(file, "rb") as stream:
        window = Window(stream.fileno(), memoryview(bytearray(size)))
        for offset, length in pieces:
            assert bytes(window.at(offset, length)) == CONTENT[offset : offset + length]


def test_only_what_goes_on_is_read_ahead(file: Path) -> None:
    with open(file, "rb") as stream:
        window = Window(stream.fileno(), memoryview(bytearray(1000)))
        window.at(1500, 10)
        window.at(100, 10)
        assert window.read == 20
        window.at(158, 10)
        window.at(1000, 100)
        assert window.read == 1020


def test_memory_that_was_used_before_is_not_mistaken_for_the_file(file: Path) -> None:
    memory = memoryview(bytearray(b"x" * 1000))
    with open(file, "rb") as stream:
        assert bytes(Window(stream.fileno(), memory).at(0, 100)) == CONTENT[:100]
        assert bytes(Window(stream.fileno(), memory).at(2950, 100)) == CONTENT[2950:]
        assert bytes(Window(stream.fileno(), memory).at(0, 0)) == b""
