# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placeholders change the characters of their scalar and no other byte, or nothing at all."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import placeholders
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.placeholders import (
    PlaceholderError,
    replaced,
    scalars,
)

FLEET = Path(__file__).parents[2] / "fixtures" / "fleet"
CONFIGS = [FLEET / "mainpc" / "startup_config.yaml", FLEET / "pc2" / "startup_config.yaml"]


def load(content: bytes) -> list[Any]:
    """All documents, by the loader that agents use."""
    return list(yaml.load_all(content, Loader=yaml.SafeLoader))


def with_leaf(documents: Any, path: tuple[Any, ...], value: str) -> Any:
    if not path:
        return value
    if isinstance(documents, list):
        return [with_leaf(one, path[1:], value) if n == path[0] else one for n, one in enumerate(documents)]
    return {key: with_leaf(one, path[1:], value) if str(key) == path[0] else one for key, one in documents.items()}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
def test_each_leaf_of_the_startup_configs(config: Path) -> None:
    content = config.read_bytes()
    found = scalars(content, "x")
    before, text = load(content), content.decode()
    leaves = found.values()
    assert len(leaves) == {"mainpc": 374, "pc2": 182}[config.parent.name]
    assert [one.refusal for one in leaves.values() if one.refusal] == []
    # The parser in Python takes twenty times as long: a few leaves, which differ by run.
    with_c = hasattr(yaml, "CSafeLoader")
    for path, leaf in leaves.items() if with_c else random.Random().sample(list(leaves.items()), 8):
        after = replaced(content, "x", {path: "${A_NAME}"})
        assert after.decode() == text[: leaf.start] + '"${A_NAME}"' + text[leaf.end :]
    for path in random.Random(4).sample(sorted(leaves, key=str), 12 if with_c else 2):
        assert load(replaced(content, "x", {path: "${A_NAME}"})) == with_leaf(before, path, "${A_NAME}")


class Piece(NamedTuple):
    """Text of a document; of a leaf also its value."""

    text: str
    value: str | None = None
    is_leaf: bool = False


WORDS = st.sampled_from(
    ["hunter2", "pä:ss", "it's", "a#b", 'quo"te', "x y  z", "-dash", "😀", "0x1F", "yes", "a,b", "50%"]
)
COMMENT = st.sampled_from(["", "", " # why", "   #: 'x' \"y\" ${Z}"])


@st.composite
def leaf(draw: st.DrawFn, indent: int, flow: bool) -> Piece:
    value = draw(WORDS)
    styles = ["single", "double"] + (
        [] if flow else ["literal", "literal+", "folded", "two lines", "single over lines"]
    )
    if value in ("hunter2", "x y  z", "😀", "a#b", "0x1F", "yes", "50%"):
        styles += ["plain"]
    style = draw(st.sampled_from(styles))
    pad = "\n" + " " * (indent + 2)
    if style == "plain":
        return Piece(value, value, True)
    if style == "single":
        return Piece("'" + value.replace("'", "''") + "'", value, True)
    if style == "double":
        return Piece('"' + value.replace('"', '\\"') + '"', value, True)
    if style == "two lines":
        return Piece(f"one{pad}two", "one two", True)

    if style == "single over lines":
        return Piece(f"'one{pad}{pad}two'", None, True)
    head = {"literal": "|", "literal+": "|+", "folded": ">-"}[style]
    return Piece(f"{head}{pad}{value}{pad}more", None, True)


@st.composite
def flow(draw: st.DrawFn, indent: int) -> list[Piece]:
    gap = draw(st.sampled_from(["", " ", "  "]))
    opening, closing = draw(st.sampled_from(["{}", "[]"]))
    pieces = [Piece(opening + gap)]
    for number in range(draw(st.integers(1, 3))):
        pieces.append(Piece(("," + (gap or " ") if number else "") + (f"k{number}: " if opening == "{" else "")))
        pieces.append(draw(leaf(indent, True)))
    return [*pieces, Piece(gap + closing)]


@st.composite
def block(draw: st.DrawFn, indent: int = 0, depth: int = 0) -> list[Piece]:
    pieces: list[Piece] = []
    listed = draw(st.booleans())
    for number in range(draw(st.integers(1, 4))):
        if draw(st.integers(0, 3)) == 0:
            pieces.append(Piece(draw(st.sampled_from(["\n", " " * indent + "# a comment: 'x'\n", "\n\n"]))))
        key = "-" if listed else draw(st.sampled_from([f"key{number}", f'"key {number}"', f"'k{number}'"])) + ":"
        pieces.append(Piece(" " * indent + key))
        kind = draw(st.sampled_from(["leaf", "leaf", "flow", "block"] if depth < 3 else ["leaf"]))
        if kind == "block":
            pieces.append(Piece(draw(COMMENT) + "\n"))
            pieces += draw(block(indent + 2, depth + 1))
            continue
        inner = [draw(leaf(indent, False))] if kind == "leaf" else draw(flow(indent))
        comment = "" if inner[0].text[0] in "|>" else draw(COMMENT)
        pieces += [Piece(" " * draw(st.integers(1, 3))), *inner, Piece(comment + "\n")]
    return pieces


@st.composite
def document(draw: st.DrawFn) -> list[Piece]:
    pieces = [Piece(draw(st.sampled_from(["", "---\n", "# head\n", "%YAML 1.1\n---\n"]))), *draw(block())]
    if draw(st.booleans()):
        pieces += [Piece("---\n"), *draw(block())]
    pieces.append(Piece(draw(st.sampled_from(["", "\n", "# end", "...\n"]))))
    return pieces


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("this PyYAML has no libyaml")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=document(), data=st.data())
def test_only_the_wanted_bytes_change(parser: None, pieces: list[Piece], data: st.DataObject) -> None:
    line_end = data.draw(st.sampled_from(["\n", "\r\n"]))
    bom = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    cut = data.draw(st.booleans()) and pieces[-1].text == ""

    def written(parts: list[str]) -> bytes:
        text = "".join(parts)
        text = text.rstrip("\n") if cut else text
        return bom + text.replace("\n", line_end).encode()

    content = written([piece.text for piece in pieces])
    values = list(scalars(content, "x").values().values())
    places = [number for number, piece in enumerate(pieces) if piece.is_leaf]
    assert len(values) == len(places)
    assert [one.refusal for one in values] == [None] * len(places)
    assert [one.value for one, n in zip(values, places) if pieces[n].value is not None] == [
        pieces[n].value for n in places if pieces[n].value is not None
    ]
    chosen = data.draw(st.sets(st.sampled_from(range(len(places)))))
    wanted = {values[number].path: f"${{NAME_{number}}}" for number in chosen}
    parts = [piece.text for piece in pieces]
    for number in chosen:
        parts[places[number]] = f'"${{NAME_{number}}}"'
    after = replaced(content, "x", wanted)
    assert after == written(parts)
    expected: Any = load(content)
    for path, replacement in wanted.items():
        expected = with_leaf(expected, path, replacement)
    assert load(after) == expected


TEXT = st.text(st.sampled_from("ab1: -\n\r\t#'\"{}[],&*!|>?%@`~\\<=é😀\u2028\x85\ufeff"), max_size=60)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT, pick=st.randoms(use_true_random=False))
def test_whatever_stands_there_changes_by_one_scalar_or_not_at_all(
    parser: None, text: str, pick: random.Random
) -> None:
    content = text.encode()
    try:
        found = scalars(content, "x")
    except PlaceholderError as error:
        assert str(error).startswith("x: the file ")
        return
    values = found.values()
    if not values:
        return
    path = pick.choice(sorted(values, key=str))
    try:
        after = replaced(content, "x", {path: "${NAME}"})
    except PlaceholderError:
        return
    chosen = values[path]
    body = text.removeprefix("\ufeff")
    assert after.decode().removeprefix("\ufeff") == body[: chosen.start] + '"${NAME}"' + body[chosen.end :]
    again = scalars(after, "x").all
    assert [(one.path, one.value) for one in again] == [
        (one.path, "${NAME}" if one is chosen or one == chosen else one.value) for one in found.all
    ]


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("a: &x one\nb: *x\n", (0, "a"), placeholders.ANCHOR),
        ("a: &x {p: one}\nb: *x\n", (0, "a", "p"), placeholders.ANCHORED),
        ("b: &x\n  - - p: one\nc:\n  <<: *x\n", (0, "b", 0, 0, "p"), placeholders.ANCHORED),
        ("a:\n  <<: {p: one}\n", (0, "a", "<<", "p"), placeholders.MERGE),
        ("a: !!str one\n", (0, "a"), placeholders.TAG),
        ("a: !vault |\n  one\n", (0, "a"), placeholders.TAG),
        ("a: !Sub {p: one}\n", (0, "a", "p"), placeholders.TAG),
        ("a: | # why\n  one\n", (0, "a"), placeholders.HEAD_COMMENT),
        ("a:\n", (0, "a"), placeholders.UNSURE),
        ("a: |\n\n", (0, "a"), placeholders.UNSURE),
    ],
)
def test_refused(text: str, path: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(PlaceholderError, match="^x:1|^x:2") as caught:
        replaced(text.encode(), "x", {path: "${NAME}"})
    assert caught.value.what == reason


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a: {p: 1}\na: {p: 2}\n", "? [a, b]\n: {p: one}\n", "? {a: one}\n: x\n"],
)
def test_what_has_no_sure_path_is_no_value(text: str) -> None:
    found = scalars(text.encode(), "x")
    for one in found.all:
        if one.value == "one":
            with pytest.raises(PlaceholderError, match="not there"):
                replaced(text.encode(), "x", {one.path: "${NAME}"})
    assert all(one.refusal for one in found.all if one.value in ("one", "1", "2"))


def test_an_anchor_that_nobody_uses_and_a_merge_beside_change_nothing() -> None:
    text = "base: &b {q: 1}\nother: &unused\n  p: one\nwith:\n  <<: *b\n  p: two\n"
    wanted = {(0, "other", "p"): "${ONE}", (0, "with", "p"): "${TWO}"}
    after = replaced(text.encode(), "x", wanted).decode()
    assert after == text.replace("one", '"${ONE}"').replace("two", '"${TWO}"')


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a: \xff\n", "UTF-8"),
        ("a: one\n".encode("utf-16"), "UTF-8|characters"),
        (b"a: 'one\n", "not YAML"),
        (b"a: {{ one }}\n  b\n", "not YAML"),
        (b"a: \x00one\n", "characters|not YAML"),
        (b"a: x\n" + b"#" * placeholders.MAX_BYTES, "MiB"),
    ],
)
def test_files_that_are_left(content: bytes, what: str) -> None:
    with pytest.raises(PlaceholderError, match=what) as caught:
        scalars(content, "x")
    assert "one" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", ["plain", "${name}", "${A}x", '"${A}', "${" + "A" * 65 + "}", "a b=${A}", "${A}\n"])
def test_only_placeholders_are_put_in(text: str) -> None:
    with pytest.raises(PlaceholderError, match="no placeholder"):
        replaced(b"a: x\n", "x", {(0, "a"): text})


def test_lines_of_every_kind_are_counted() -> None:
    found = scalars(b"a: x\r\nb: y\rc: z\nd: w\n", "x")
    assert [found.line(one.start) for one in found.values().values()] == [1, 2, 3, 4]


@pytest.mark.parametrize("levels", [60, 3000])
def test_a_deep_document_is_bounded(levels: int) -> None:
    content = b"[" * levels + b"one" + b"]" * levels
    if levels > 64:
        with pytest.raises(PlaceholderError, match="levels"):
            scalars(content, "x")
        return
    path = next(iter(scalars(content, "x").values()))
    assert replaced(content, "x", {path: "${NAME}"}) == content.replace(b"one", b'"${NAME}"')
