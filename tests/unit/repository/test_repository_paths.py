# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.repository import paths
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import DamagedError

names = st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name)


@given(st.binary(max_size=200))
def test_every_byte_string_has_one_spelling_and_comes_back(raw: bytes) -> None:
    text = paths.encode(raw)
    assert paths.decode(text) == raw
    assert text.encode().decode() == text
    assert not set(text) & set('"\\\n\0')


@pytest.mark.parametrize("text", ["%41", "%e4", "%", "%4", '"', "\\", "\n", "%C3%A4", "\udcff"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(DamagedError):
        paths.decode(text)


@pytest.mark.parametrize(
    "path", [b"", b"a", b"../a", b"/a/../b", b"/a/./b", b"/a//b", b"/a/", b"/..", b"/a\0b", b"/" + b"x" * 70000]
)
def test_paths_that_lead_elsewhere_are_refused(path: bytes) -> None:
    with pytest.raises(DamagedError):
        paths.check(path)


@given(st.lists(st.lists(names, min_size=1, max_size=4).map(b"/".join), unique=True, max_size=20))
def test_the_order_is_that_of_a_sorted_walk(listed: list[bytes]) -> None:
    assert sorted(listed, key=paths.order) == sorted(listed, key=lambda path: path.split(b"/"))


def test_inside_means_the_folder_and_not_its_namesakes() -> None:
    assert paths.inside(b"/a/b", b"/a") and paths.inside(b"/a", b"/a") and paths.inside(b"/x", b"/")
    assert not paths.inside(b"/ab", b"/a")
