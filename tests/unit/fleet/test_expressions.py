# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions are resolved from given values and from their own defaults, never from a guess."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.expressions import (
    Number,
    expand,
    is_expression,
    number,
    truth,
)

VALUES = {"PORT_OFFSET": "1000", "HOME": "/root", "EMPTY": "", "TRICK": "${HOME}"}


@pytest.mark.parametrize(
    ("text", "expanded", "missing"),
    [
        ("plain", "plain", ()),
        ("${HOME}/x", "/root/x", ()),
        ("${NONE}", "${NONE}", ("NONE",)),
        ("${NONE:-tcp://host:7100/a}", "tcp://host:7100/a", ()),
        ("${NONE:-}", "", ()),
        ("${EMPTY:-default}", "default", ()),
        ("${EMPTY}", "", ()),
        ("${NONE:-${HOME}/y}", "/root/y", ()),
        ("${NONE:-${OTHER}}", "${OTHER}", ("OTHER",)),
        ("${PYTHONPATH}:${PWD}/..:${PWD}", "${PYTHONPATH}:${PWD}/..:${PWD}", ("PYTHONPATH", "PWD")),
        ("${TRICK}", "${HOME}", ()),
        ("${NONE:-open", "${NONE:-open", ()),
        ("$HOME ${} ${1}", "$HOME ${} ${1}", ()),
    ],
)
def test_expand(text: str, expanded: str, missing: tuple[str, ...]) -> None:
    result = expand(text, VALUES)
    assert (result.text, result.missing) == (expanded, missing)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${PORT_OFFSET}+7100", Number(value=8100)),
        ("${PORT_OFFSET} + 7100", Number(value=8100)),
        ("7100 + ${PORT_OFFSET}", Number(value=8100)),
        ("${OFFSET:-0}+7100", Number(value=7100)),
        ("${PORT_OFFSET}+7100-50", Number(value=8050)),
        ("7100", Number(value=7100)),
        ("${OFFSET}+7100", Number(missing=("OFFSET",), base=("OFFSET", 7100))),
        ("7100+${OFFSET}+1", Number(missing=("OFFSET",), base=("OFFSET", 7101))),
        ("${OFFSET}", Number(missing=("OFFSET",), base=("OFFSET", 0))),
        ("${A}+${B}", Number(missing=("A", "B"))),
        ("7100-${A}", Number(missing=("A",))),
        ("${A}${B}", Number(missing=("A", "B"))),
        ("7100 7200", Number()),
        ("", Number()),
        ("${EMPTY}", Number()),
        ("7100*2", Number()),
        ("__import__('os')", Number()),
        ("${HOME}+1", Number()),
    ],
)
def test_number(text: str, expected: Number) -> None:
    assert number(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${RTAP_ENABLED:-false} == 'false'", True),
        ("${RTAP_ENABLED:-false} != 'false'", False),
        ("${RTAP_ENABLED:-true} == 'false'", False),
        ("'${A:-x}' == \"x\"", True),
        ("${FLAG:-true}", True),
        ("${FLAG:-no}", False),
        ("${FLAG}", None),
        ("${FLAG} == 'true'", None),
        ("perhaps", None),
    ],
)
def test_truth(text: str, expected: Optional[bool]) -> None:
    assert truth(text, {}) is expected


@given(st.text(alphabet="${}:-+AB09 ='", max_size=60))
def test_nothing_raises_and_nothing_is_lost_without_variables(text: str) -> None:
    result = expand(text, {})
    number(text, {})
    truth(text, {})
    if not is_expression(text):
        assert result.text == text and not result.missing
