# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that only grew: the blocks of their beginning are named again, but only if it is still the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.repository import reading
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.files import BLOCK, PIECE

LENGTHS = (2 * PIECE, 2 * PIECE + BLOCK, 2 * PIECE + 77, 2 * PIECE - 1, 3 * PIECE + BLOCK - 1)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each time that a large file is read: whether its beginning was taken as known."""
    seen: list[bool] = []
    stored = reading.store_stream

    def watched(*how: Any) -> Any:
        content = stored(*how)
        seen.append(how[-1] is not None and content is not None)
        return content

    monkeypatch.setattr(reading, "store_stream", watched)
    return seen


def comes_back(world: Any, content: bytes) -> bool:
    world.restore()
    back: bytes = world.restored("log").read_bytes()
    return back == content and world.faults() == []


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("grown", [1, BLOCK, 2 * PIECE + 5])
def test_a_file_that_grew(world: Any, passes: list[bool], length: int, grown: int) -> None:
    content = random.Random(length).randbytes(length + grown)
    world.write({"log": content[:length]})
    world.take()
    world.write({"log": content})
    taken = world.take()
    assert passes == [False, True]
    assert taken.bytes_stored < grown + BLOCK + 4096
    assert comes_back(world, content)


@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, PIECE + 1, 2 * PIECE + 76])
def test_a_file_that_grew_and_changed_before(world: Any, passes: list[bool], place: int) -> None:
    content = bytearray(random.Random(place).randbytes(2 * PIECE + 77))
    world.write({"log": bytes(content)})
    world.take()
    content[place] ^= 1
    world.write({"log": bytes(content + b"more")})
    world.take()
    # What differs in the first block is seen at once, anything else costs a second pass.
    assert passes == ([False, True] if place < BLOCK else [False, False, False])
    assert comes_back(world, bytes(content + b"more"))


def test_a_file_that_shrank_or_whose_blocks_are_lost(world: Any, passes: list[bool]) -> None:
    content = random.Random(1).randbytes(3 * PIECE)
    world.write({"log": content[: 2 * PIECE]})
    world.take()
    for pack in Path(world.repository, "packs").glob("*/*"):
        pack.unlink()
    world.write({"log": content})
    world.take()
    world.write({"log": content[: PIECE + 9]})
    world.take()
    assert passes == [False, False, False]
    world.restore()
    assert world.restored("log").read_bytes() == content[: PIECE + 9]
