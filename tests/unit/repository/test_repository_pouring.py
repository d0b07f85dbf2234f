# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import fcntl
import os
import random
from pathlib import Path
from typing import Any, Union

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.repository.entries import Content
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.pouring import LARGE, Pouring

SIZES = (0, 1, LARGE - 1, LARGE, LARGE + 1, LARGE + 4096, 2 * LARGE, 3 * LARGE + 5000)


def poured(file: Path, pieces: list[Union[bytes, int]], pouring: Pouring) -> int:
    """Pour them; the flags of the descriptor afterwards."""
    size = sum(piece if isinstance(piece, int) else len(piece) for piece in pieces)
    blocks = tuple(piece if isinstance(piece, int) else "ab" * 32 for piece in pieces)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        pouring.pour(descriptor, Content(size, "", "", blocks), pieces)
        return fcntl.fcntl(descriptor, fcntl.F_GETFL)
    finally:
        os.close(descriptor)


def cut(content: bytes, chance: random.Random) -> list[Union[bytes, int]]:
    ends = sorted({*chance.sample(range(len(content) + 1), min(len(content), 9)), len(content)})
    return [content[begin:end] for begin, end in zip([0, *ends], ends)]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_holds_what_was_poured(tmp_path: Path, size: int) -> None:
    chance, pouring = random.Random(size), Pouring()
    for number in range(3):
        content = chance.randbytes(size)
        flags = poured(tmp_path / str(number), cut(content, chance), pouring)
        assert (tmp_path / str(number)).read_bytes() == content
        assert not flags & os.O_DIRECT


def test_a_hole_stays_a_hole(tmp_path: Path) -> None:
    content = os.urandom(2 * LARGE)
    poured(tmp_path / "file", [content, 64 * LARGE, content, 5000], Pouring())
    assert (tmp_path / "file").read_bytes() == content + bytes(64 * LARGE) + content + bytes(5000)
    assert (tmp_path / "file").stat().st_blocks * 512 < 8 * LARGE


@pytest.mark.parametrize("refused", ["the flag", "the write"])
def test_where_direct_writes_are_refused_it_is_written_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    control, write = fcntl.fcntl, os.write
    refusals = []

    def refuse(what: str) -> None:
        if what == refused:
            refusals.append(what)
            raise OSError(errno.EINVAL, "Invalid argument")

    def controlling(file: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL and argument & os.O_DIRECT:
            refuse("the flag")
        return control(file, command, argument)

    def writing(file: int, content: Any) -> int:
        if control(file, fcntl.F_GETFL) & os.O_DIRECT:
            refuse("the write")
        return write(file, content)

    monkeypatch.setattr(fcntl, "fcntl", controlling)
    monkeypatch.setattr(os, "write", writing)
    content = os.urandom(3 * LARGE + 77)
    poured(tmp_path / "file", [content], Pouring())
    assert (tmp_path / "file").read_bytes() == content and len(refusals) == 1


def test_what_the_disk_refuses_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(file: int, content: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        poured(tmp_path / "file", [bytes(2 * LARGE)], Pouring())
