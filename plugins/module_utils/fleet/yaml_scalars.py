# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a YAML scalar means: the rules of YAML 1.1 as PyYAML's safe loader applies them.

The agents' own loaders are PyYAML, so ``yes`` is a boolean here and ``0755`` an octal number. Two
differences, both because values travel as JSON: a timestamp, an infinity and a NaN stay text.
"""

from __future__ import annotations

import math
from typing import Any, Optional, Union

try:
    import yaml
except ImportError:  # yaml_document.parse() says what is missing
    yaml = None  # type: ignore[assignment]

Scalar = Union[bool, int, float, str, None]

UNSUPPORTED_TAG = "tag {} has no meaning in a startup config"

MAX_DIGITS = 100
"""Longest number that is converted; the time for longer ones grows with the square of their length."""

_PREFIX = "tag:yaml.org,2002:"
_TEXT = {_PREFIX + "str", _PREFIX + "timestamp", _PREFIX + "merge", _PREFIX + "value", "!"}


def scalar_value(text: str, tag: Optional[str], *, plain: bool) -> tuple[Scalar, Optional[str]]:
    """The value of a scalar, and what is wrong with it (then the value is the text itself).

    ``plain`` says that it was written without quotes and without a tag, so its form decides.
    """
    kind = _implicit_tag(text) if plain else tag or _PREFIX + "str"
    if kind in _TEXT:
        return text, None
    convert = _CONVERTERS.get(kind[len(_PREFIX) :]) if kind.startswith(_PREFIX) else None
    if convert is None:
        return text, UNSUPPORTED_TAG.format(kind)
    if len(text) > MAX_DIGITS:
        return text, f"not a valid {kind[len(_PREFIX) :]}: longer than {MAX_DIGITS} characters"
    try:
        value = convert(_scalar_node(kind, text))
    except (ValueError, KeyError, OverflowError):
        return text, f"not a valid {kind[len(_PREFIX) :]}"
    if isinstance(value, float) and not math.isfinite(value):
        return text, None
    return value, None


def _implicit_tag(text: str) -> str:
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    for tag, pattern in resolvers.get(text[:1], ()):
        if pattern.match(text):
            return str(tag)
    return _PREFIX + "str"


def _scalar_node(tag: str, text: str) -> Any:
    return yaml.ScalarNode(tag, text)


def _converters() -> dict[str, Any]:
    if yaml is None:
        return {}
    constructor = yaml.constructor.SafeConstructor()
    return {
        "null": constructor.construct_yaml_null,
        "bool": constructor.construct_yaml_bool,
        "int": constructor.construct_yaml_int,
        "float": constructor.construct_yaml_float,
    }


_CONVERTERS = _converters()
