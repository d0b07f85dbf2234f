# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML with line numbers: the same values as PyYAML's own loader, and what that one lets pass named.

Every test runs with the C parser and with the pure one, because continuity.pyz carries only the latter.
"""

from __future__ import annotations

import json
import math
from typing import Any, Iterator

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet import yaml_document
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.yaml_document import Document, parse


@pytest.fixture(params=["c", "pure"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "pure":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("this PyYAML has no C parser")
    yield request.param


def read(text: str) -> Document:
    return parse(text.encode(), "fleet.yaml")


def only_fault(text: str) -> yaml_document.Fault:
    document = read(text)
    assert document.root is None
    assert len(document.faults) == 1, document.faults
    return document.faults[0]


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [x, y, 2.5, ~, yes, 'yes', \"1\", 0x1f, 0o7, 017, 1_000, 1:30, 1e3, .5]\n",
        "- a\n-\n  - b\n  - {c: d, e: [f]}\n",
        "text: |\n  one\n  two\nfolded: >\n  three\n  four\n",
        "base: &b {x: 1, y: 2}\nmerged: {<<: *b, y: 3}\nlist: {<<: [*b, {z: 4, x: 9}]}\nsame: *b\n",
        "quoted: {'<<': 1}\n",
        "? simple\n: value\n",
        "a: !!str 12\nb: !!int '7'\nc: ! 5\n",
        "empty:\nnull_key: null\n",
        "# only a comment\n",
        "",
        "--- {a: b}\n...\n",
        "v: 3.0\nw: '3.0'\nx: 3\n",
    ],
)
def test_values_are_those_of_the_safe_loader(text: str) -> None:
    document = read(text)
    assert document.faults == ()
    plain = document.root.plain() if document.root else None
    assert plain == yaml.safe_load(text)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_pyyaml_writes_is_read_back(value: Any) -> None:
    document = read(yaml.safe_dump(value, allow_unicode=False))
    assert document.faults == ()
    assert document.root is not None
    assert document.root.plain() == value


def test_every_node_knows_its_line() -> None:
    root = read("a: 1\nb:\n  c: [x,\n    y]\n  d: 2\ne: 3\n").root
    assert root is not None
    inner = root.get("b")
    assert inner is not None
    assert (root.location_of("b").line, inner.location_of("d").line, root.location_of("e").line) == (2, 5, 6)
    items = inner.get("c")
    assert items is not None and [item.line for item in items.items] == [3, 4]
    assert inner.line == 3


def test_duplicate_keys_are_named_with_both_lines_and_the_last_stands() -> None:
    document = read("a:\n  x: 1\n  y: 2\n  x: 3\na: {z: 4, z: 5}\n")
    assert document.root is not None and document.root.plain() == {"a": {"z": 5}}
    assert [(fault.rule, fault.line, fault.key, fault.found) for fault in document.faults] == [
        ("G-duplicate-key", 4, "a.x", "lines 2 and 4"),
        ("G-duplicate-key", 5, "a.z", "lines 5 and 5"),
        ("G-duplicate-key", 5, "a", "lines 1 and 5"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, ["not valid YAML", "starts at line 2", "rest of the file was not read"]),
        ("a: 1\nb: 'open\nc: 3\n", 3, ["not valid YAML", "quoted scalar", "line 2"]),
        ("a:\n\tb: 1\n", 2, ["indented with a tab"]),
        ("a: *nowhere\n", 1, ["*nowhere", "does not exist"]),
        ("a: 1\nb: &b [*b]\n", 2, ["*b", "inside of what it refers to"]),
        ("a: 1\n---\nb: 2\n", 2, ["second YAML document"]),
        ("a: 1\n? [b, c]\n: 2\n", 2, ["mapping key", "single value"]),
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", 2, ["python/object", "no meaning"]),
        ("a: !vault x\n", 1, ["!vault", "no meaning"]),
        ("a: {<<: 5}\n", 1, ["'<<' merges mappings only"]),
        ("a: 0b_\n", 1, ["not a valid int"]),
        ("a: " + "9" * 200 + "\n", 1, ["longer than 100"]),
        ("a: 1\nb: \0\n", 2, ["U+0000"]),
        ("a: \x1b[31m\n", 1, ["U+001B"]),
        ("a: " + "[" * 100_000, 1, ["64 levels"]),
        ("{a: " * 100_000, 1, ["64 levels"]),
        ("- " * 100_000, 1, ["64 levels"]),
        ("\n".join(" " * depth + "a:" for depth in range(200)), 65, ["64 levels"]),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: str, line: int, words: list[str]) -> None:
    fault = only_fault(text)
    assert fault.rule == "G-parse"
    assert fault.line == line, fault
    for word in words:
        assert word in fault.message, fault


def test_not_utf8_is_refused_with_offset_and_line() -> None:
    document = parse(b"a: 1\nb: gr\xf6\xdfe\n", "fleet.yaml")
    assert document.root is None
    assert document.faults[0].line == 2
    assert "byte 0xf6 at offset 10" in document.faults[0].message


def test_a_byte_order_mark_is_no_fault_and_moves_no_offset() -> None:
    assert parse(b"\xef\xbb\xbfa: 1\n", "f").root is not None
    assert "offset 6" in parse(b"\xef\xbb\xbfa: \xff\n", "f").faults[0].message


def test_an_anchor_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    fault = only_fault("\n".join(lines) + "\n")
    assert fault.line == 6
    assert "anchor bomb" in fault.message


def test_a_bomb_of_merges_is_refused() -> None:
    lines = ["b0: &b0 {k: 1}"]
    lines += [f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 50)}], k{n}: 1}}" for n in range(1, 400)]
    assert "too many values" in only_fault("\n".join(lines) + "\n").message


def test_a_ladder_of_aliases_counts_as_depth() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]
    assert "64 levels" in only_fault("\n".join(lines) + "\n").message


def test_a_file_too_large_is_refused_unread() -> None:
    document = parse(b"a: 1\n" * (yaml_document.MAX_BYTES // 5 + 1), "fleet.yaml")
    assert document.root is None
    assert "too large" in document.faults[0].message


def test_everything_that_can_be_told_is_told_at_once() -> None:
    document = read("a: 1\na: 2\nb: *nope\nc: !custom x\nd: 1\nd: 2\ne: [1\n")
    assert [fault.line for fault in document.faults] == [2, 3, 4, 6, 8 - 1]
    assert document.root is None


def test_faults_end_somewhere() -> None:
    document = read("a: 1\n" * 10_000)
    assert len(document.faults) == yaml_document.MAX_FAULTS + 1


def test_values_travel_as_json() -> None:
    root = read("a: 2024-01-01\nb: .inf\nc: .nan\nd: 2024-99-99\n").root
    assert root is not None
    assert json.loads(json.dumps(root.plain())) == {"a": "2024-01-01", "b": ".inf", "c": ".nan", "d": "2024-99-99"}
    assert not any(isinstance(value, float) and not math.isfinite(value) for value in root.plain().values())
