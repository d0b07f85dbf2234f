# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared, hidden and found, and how long somebody waits."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import QuickClock, leaks, shown

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.documents import found_in, value_of
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import OUTAGES, SecretError, collected
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import (
    DeclaredSecret,
    Hidden,
    Lease,
    ReadSecret,
    declared,
    fingerprint,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.patience import Patience
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.sources import opened

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
PARTS = st.text(st.characters(blacklist_characters="/?#%\\", blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=8)
PATHS = st.lists(PARTS.filter(lambda part: part not in (".", "..", "*")), min_size=1, max_size=4).map("/".join)


def test_hidden_content_shows_nothing() -> None:
    value = "qzV7canaryOfAValue"
    hidden = Hidden(value.encode())
    read = ReadSecret("name", hidden, "3")
    lease = Lease("database/creds/x", hidden, 60, True, 0.0)
    for form in (repr(hidden), str(hidden), f"{hidden}", f"{hidden!r:>30}", repr(read), str(lease), repr([read])):
        assert leaks(form, [value]) == []
    for action in (lambda: pickle.dumps(hidden), lambda: copy.copy(hidden), lambda: hash(hidden)):
        with pytest.raises(TypeError):
            action()
    with pytest.raises(TypeError):
        json.dumps({"value": hidden})
    assert hidden == Hidden(value.encode())
    assert hidden != Hidden(b"other")
    assert hidden != value.encode()
    assert hidden.reveal() == value.encode()


@given(st.binary(), st.binary(), NAMES, NAMES)
def test_fingerprints_tell_values_names_and_keys_apart(one: bytes, other: bytes, name: str, another: str) -> None:
    key = b"k" * 32
    found = fingerprint(key, name, Hidden(one))
    assert len(found) == 16
    assert found == fingerprint(key, name, Hidden(one))
    assert (found == fingerprint(key, name, Hidden(other))) is (one == other)
    assert (found == fingerprint(key, another, Hidden(one))) is (name == another)
    assert found != fingerprint(b"another key", name, Hidden(one))


@given(st.dictionaries(NAMES, PATHS, max_size=5))
def test_what_can_be_declared(entries: dict[str, str]) -> None:
    made = declared([{"name": name, "path": f"/{path}/"} for name, path in entries.items()])
    assert {secret.name: secret.path for secret in made} == {name: path.strip("/") for name, path in entries.items()}


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"name": "a"},
        {"name": "a", "path": "/"},
        {"name": "", "path": "x"},
        {"name": ".hidden", "path": "x"},
        {"name": "..data", "path": "x"},
        {"name": "a/b", "path": "x"},
        {"name": "a" * 129, "path": "x"},
        {"name": "a\n", "path": "x"},
        {"name": "a", "path": "x//y"},
        {"name": "a", "path": "x/../y"},
        {"name": "a", "path": "x?list=true"},
        {"name": "a", "path": "x#y"},
        {"name": "a", "path": "x%2fy"},
        {"name": "a", "path": "x\ny"},
        {"name": "a", "path": "x", "version": 0},
        {"name": "a", "path": "x", "version": 1, "dynamic": True},
    ],
)
def test_what_cannot_be_declared(entry: dict[str, Any]) -> None:
    with pytest.raises(SecretError):
        declared([entry])


def test_nothing_is_declared_twice() -> None:
    with pytest.raises(SecretError, match="twice: a"):
        declared([{"name": "a", "path": "x"}, {"name": "a", "path": "y"}])


@given(
    st.dictionaries(
        PATHS,
        st.dictionaries(PARTS.filter("*".__ne__), st.text(max_size=5), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_every_address_of_a_document_is_found(document: dict[str, dict[str, str]]) -> None:
    nested: dict[str, Any] = {}
    for path, fields in document.items():
        level = nested
        for part in path.split("/"):
            level = level.setdefault(part, {})
            if not isinstance(level, dict):
                return
        level.update({f"field {name}": value for name, value in fields.items()})
    for path, fields in document.items():
        for name, value in fields.items():
            flat, deep = DeclaredSecret("a", path, name), DeclaredSecret("a", path, f"field {name}")
            assert value_of(found_in(document, path), flat, "here", exact=True).text() == value
            assert value_of(found_in(nested, path), deep, "here", exact=True).text() == value


@pytest.mark.parametrize("value", [5432, 0o123, True, None, 1.5, ["a"], {"a": "b"}])
def test_values_that_yaml_may_have_changed(value: Any) -> None:
    with pytest.raises(SecretError, match="not text"):
        value_of({"value": value}, DeclaredSecret("a", "a"), "here", exact=True)


@given(st.lists(st.sampled_from(["missing", "denied", *sorted(OUTAGES)]), min_size=1, max_size=6))
def test_an_outage_counts_before_anything_else(codes: list[str]) -> None:
    error = collected({f"a{number}": SecretError(code, f"what {number}") for number, code in enumerate(codes)})
    assert error.outage is any(code in OUTAGES for code in codes)
    assert all(f"a{number}" in str(error) for number in range(len(codes)))


@given(
    st.floats(0, 100),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([None, "0", "1", "20", "nonsense", "-1"]))),
)
def test_patience_is_never_longer_than_it_says(seconds: float, attempts: list[tuple[float, Any]]) -> None:
    clock, chances = QuickClock(), iter(attempts)
    current = [0.0]
    patience = Patience(seconds, clock, lambda: current[0])
    for number, (chance, retry_after) in enumerate(chances):
        current[0] = chance
        before = len(clock.slept)
        if not patience.wait(number, retry_after):
            assert len(clock.slept) == before
            break
        if retry_after and retry_after.isdigit():
            assert clock.slept[-1] >= float(retry_after)
    assert sum(clock.slept) <= seconds


def test_patience_knows_dates() -> None:
    clock = QuickClock()
    assert Patience(30, clock, lambda: 0.0).wait(0, "Wed, 21 Oct 2015 07:28:00 GMT")
    assert clock.slept == [0.0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": "keepass"},
        {"kind": "age", "file": "x"},
        {"kind": "age", "file": "x", "identity_files": [], "address": "y"},
        {"kind": "vault", "address": "https://x"},
        {"kind": "vault", "address": "https://x", "auth": {"method": "token", "token_file": "x"}, "verify": False},
        {"kind": "vault", "address": "https://x", "auth": {"method": "token", "token_file": "x"}, "mounts": {"kv": 3}},
    ],
)
def test_sources_that_cannot_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(SecretError) as caught:
        opened(options, QuickClock())
    assert caught.value.code == "unreadable"
    assert shown(caught.value)
