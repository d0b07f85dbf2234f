# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain keeps what was appended and names whatever else was done to it."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.journal import chain as chain_module
from ansible_collections.fleetops.continuity.plugins.module_utils.journal.chain import (
    Chain,
    ChainError,
    canonical,
    sealed,
)


@pytest.fixture
def chain(tmp_path):
    chain = Chain(str(tmp_path / "chain.jsonl"))
    for number in range(5):
        chain.append({"event": "counted", "number": number, "text": "übung"})
    return chain


def lines(chain):
    with open(chain.path, "rb") as file:
        return file.read().splitlines(keepends=True)


def rewrite(chain, changed):
    with open(chain.path, "wb") as file:
        file.write(b"".join(changed))


def test_entries_come_back_in_order_and_linked(chain):
    entries = chain.entries()
    assert [entry["number"] for entry in entries] == [0, 1, 2, 3, 4]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5]
    assert all(after["previous"] == before["hash"] for before, after in zip(entries, entries[1:]))


def test_what_was_checked_once_is_not_checked_again_while_it_stands_there(chain, monkeypatch):
    checked = []
    digest = chain_module.digest
    monkeypatch.setattr(chain_module, "digest", lambda entry: checked.append(entry["seq"]) or digest(entry))
    Chain(chain.path).append({"event": "another process"})
    del checked[:]
    assert [entry["seq"] for entry in chain.entries()] == [1, 2, 3, 4, 5, 6]
    assert checked == [5, 6], "what an append wrote is read back once"
    assert chain.entries() == chain.entries()
    assert checked == [5, 6]
    kept = lines(chain)
    rewrite(chain, kept[:3])
    assert len(chain.entries()) == 3
    rewrite(chain, [kept[0].replace(b'"number":0', b'"number":1'), *kept[1:]])
    with pytest.raises(ChainError, match="changed"):
        chain.entries()


def test_a_chain_that_does_not_exist_is_empty(tmp_path):
    assert Chain(str(tmp_path / "none")).entries() == []


@pytest.mark.parametrize("torn", [b"{", b'{"event":"cou', b"\0" * 40, b'{"a":1}'])
def test_a_torn_last_line_is_not_read_and_cut_at_the_next_append(chain, torn):
    before, kept = chain.entries(), lines(chain)
    rewrite(chain, [*kept, torn])
    assert chain.entries() == before
    chain.append({"event": "after"})
    assert chain.entries()[:5] == before
    assert chain.entries()[5]["event"] == "after"
    assert lines(chain)[:5] == kept
    assert len(lines(chain)) == 6


def tampered(kept, how):
    changed = list(kept)
    if how == "changed":
        changed[2] = changed[2].replace(b'"number":2', b'"number":7')
    elif how == "changed and hashed again":
        entry = json.loads(changed[2])
        changed[2] = canonical(sealed({**entry, "number": 7}, 3, entry["previous"])).encode() + b"\n"
        # the line itself is then sound: the one after it does not follow
    elif how == "missing":
        del changed[2]
    elif how == "swapped":
        changed[2], changed[3] = changed[3], changed[2]
    elif how == "twice":
        changed.insert(2, changed[2])
    elif how == "first missing":
        del changed[0]
    elif how == "emptied":
        changed[2] = b"\n"
    elif how == "second key":
        changed[2] = changed[2].replace(b'{"event"', b'{"event":"other","event"')
    elif how == "spaces":
        changed[2] = changed[2].replace(b":", b": ")
    elif how == "not an object":
        changed[2] = b"[1]\n"
    return changed


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("changed", 3),
        ("changed and hashed again", 4),
        ("missing", 3),
        ("swapped", 3),
        ("twice", 4),
        ("first missing", 1),
        ("emptied", 3),
        ("second key", 3),
        ("spaces", 3),
        ("not an object", 3),
    ],
)
def test_tampering_names_the_line(chain, how, line):
    kept = lines(chain)
    rewrite(chain, tampered(kept, how))
    with pytest.raises(ChainError) as caught:
        chain.entries()
    assert caught.value.where == f"{chain.path}:{line}"
    with pytest.raises(ChainError):
        chain.append({"event": "on top"})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_single_byte_can_change_unseen(chain, data):
    kept = b"".join(lines(chain))
    last_line = kept.rindex(b"\n", 0, len(kept) - 1) + 1
    place = data.draw(st.integers(0, last_line - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != kept[place]))
    try:
        rewrite(chain, [kept[:place], bytes([value]), kept[place + 1 :]])
        with pytest.raises(ChainError):
            chain.entries()
    finally:
        rewrite(chain, [kept])


@given(
    st.dictionaries(
        st.text(),
        st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists),
    )
)
def test_any_json_value_comes_back(tmp_path_factory, fields):
    fields = {key: value for key, value in fields.items() if key not in ("seq", "previous", "hash")}
    chain = Chain(str(tmp_path_factory.mktemp("chain") / "chain"))
    try:
        chain.append(fields)
    except ValueError:  # infinities are not JSON
        assert "inf" in repr(fields)
        return
    (entry,) = chain.entries()
    assert {key: entry[key] for key in fields} == fields


def test_who_is_not_admitted_leaves_no_line(chain):
    before = lines(chain)

    def refuse(entries):
        raise ChainError(f"{len(entries)} are enough")

    with pytest.raises(ChainError, match="5 are enough"):
        chain.append({"event": "more"}, refuse)
    assert lines(chain) == before


def test_the_file_is_private(chain, tmp_path):
    assert (tmp_path / "chain.jsonl").stat().st_mode & 0o777 == 0o600
