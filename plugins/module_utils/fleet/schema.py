# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of a startup config as a JSON Schema (draft 2020-12), and a check that knows lines.

``STARTUP_CONFIG`` is the whole schema for an editor or another validator. :func:`check` applies the
part of JSON Schema that it uses (``$ref`` into ``$defs``, ``type``, ``required``, ``properties``,
``additionalProperties``, ``items``, ``minimum``, ``maximum``, ``minLength``, ``pattern``, ``not`` with
a pattern, ``anyOf``) to nodes, so that the same table serves both. ``x-severity`` says how bad a
violation is (default ``critical``), ``x-missing`` how bad it is that a required key is absent,
``x-expected`` what a person is told to write.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, Mapping, NamedTuple, Optional

from .model import Location
from .yaml_document import Node

_EXPRESSION: dict[str, Any] = {"type": "string", "pattern": r"\$\{", "x-expected": "an expression with ${…}"}
LINE: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "not": {"pattern": r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]"},
    "x-expected": "a string on one line, without control or direction characters, not empty",
}
_PORT: dict[str, Any] = {"anyOf": [{"type": "integer", "minimum": 1024, "maximum": 65535}, _EXPRESSION]}
_FLAG: dict[str, Any] = {"anyOf": [{"type": "boolean"}, _EXPRESSION]}
_VARIABLES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "integer", "boolean", "null"]},
    "x-severity": "warning",
}
_ANYTHING: dict[str, Any] = {}

AGENT: dict[str, Any] = {
    "type": "object",
    "required": ["script_path", "port", "health_check_port"],
    "properties": {
        "script_path": LINE,
        "port": _PORT,
        # the base class of the agents takes port + 1 where it is absent
        "health_check_port": {**_PORT, "x-missing": "warning"},
        "name": LINE,
        "required": _FLAG,
        "dependencies": {"type": ["array", "null"], "items": {"type": "string"}},
        "config": {"type": ["object", "null"], "x-severity": "warning"},
        "host": LINE,
        "env_vars": {**_VARIABLES, "type": ["object", "array", "null"]},
        "environment": {**_VARIABLES, "type": ["object", "array", "null"]},
        "params": {"type": ["object", "null"], "x-severity": "warning"},
        "description": {"type": ["string", "null"], "x-severity": "info"},
        "class": {"type": "string", "x-severity": "warning"},
        "module": {"type": "string", "x-severity": "warning"},
        "startup_priority": {"type": "integer", "x-severity": "warning"},
        "startup": {
            "type": "object",
            "properties": {
                "order": {"type": "integer"},
                "wait_for_dependencies": {"type": "boolean"},
                "dependency_timeout": {"type": "number", "minimum": 0},
            },
            "x-severity": "warning",
        },
        "logging": {
            "type": "object",
            "properties": {"level": {"type": "string"}, "file": {"type": "string"}},
            "x-severity": "warning",
        },
        "enabled": _FLAG,
        "autoload": _FLAG,
        "status": _ANYTHING,
        "hybrid_inference_policy_ref": {"type": "string", "x-severity": "warning"},
        "command_args": _ANYTHING,
        "resource_limits": {"$ref": "#/$defs/resource_limits"},
        "health_checks": {"$ref": "#/$defs/health_checks"},
    },
    "additionalProperties": False,
}

LISTED_AGENT: dict[str, Any] = {**AGENT, "required": ["name", *AGENT["required"]]}
"""In a list the name is a key of the entry; in a group it is the key before it."""

OLD_KEYS: Mapping[str, str] = {"script": "script_path", "health_port": "health_check_port", "critical": "required"}
"""Keys of an earlier form of the config, and what they are called now."""

RESOURCE_LIMITS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "cpu_percent": {"type": "number", "minimum": 1, "maximum": 100},
        "memory_mb": {"type": "integer", "minimum": 128},
        "max_threads": {"type": "integer", "minimum": 1},
    },
    "x-severity": "warning",
}
HEALTH_CHECKS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "interval_seconds": {"type": "number", "minimum": 5},
        "timeout_seconds": {"type": "number", "minimum": 1},
        "retries": {"type": "integer", "minimum": 0},
        "start_period_seconds": {"type": "number", "minimum": 0},
    },
    "x-severity": "warning",
}
GLOBAL_SETTINGS: dict[str, Any] = {
    "type": ["object", "null"],
    "properties": {
        "environment": _VARIABLES,
        "resource_limits": {"$ref": "#/$defs/resource_limits"},
        "health_checks": {"$ref": "#/$defs/health_checks"},
        "volumes": {"type": ["array", "object", "null"], "x-severity": "warning"},
        "network": {"type": ["object", "null"], "x-severity": "warning"},
    },
}
_GROUP: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/agent"}}

STARTUP_CONFIG: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Startup config of one host of a fleet",
    "type": "object",
    "properties": {
        "include": {"type": ["string", "array"], "items": {"type": "string"}},
        "agent_groups": {"type": "object", "additionalProperties": _GROUP},
        "pc2_services": {"type": "array", "items": {"$ref": "#/$defs/listed_agent"}},
        "core_services": {"type": "array", "items": {"$ref": "#/$defs/listed_agent"}},
        "global_settings": GLOBAL_SETTINGS,
        **GLOBAL_SETTINGS["properties"],
        "error_bus_port": _PORT,
        "machine_profiles": {"type": ["object", "null"], "x-severity": "warning"},
        "overrides": {"type": ["object", "null"], "x-severity": "warning"},
    },
    "$defs": {
        "agent": AGENT,
        "listed_agent": LISTED_AGENT,
        "resource_limits": RESOURCE_LIMITS,
        "health_checks": HEALTH_CHECKS,
    },
}

SETTINGS: dict[str, Any] = {
    "type": "object",
    "properties": {
        key: schema
        for key, schema in STARTUP_CONFIG["properties"].items()
        if key not in ("agent_groups", "pc2_services", "core_services", "include")
    },
}
"""What is checked of a file beside its agents."""


class Violation(NamedTuple):
    """One place where a node is not what the schema says; ``key`` is the dotted path from the node."""

    message: str
    location: Location
    severity: str
    expected: str
    found: str
    key: str


_TYPES: Mapping[str, str] = {
    "object": "a mapping", "array": "a list", "string": "a string", "integer": "an integer",
    "number": "a number", "boolean": "true or false", "null": "nothing",
}  # fmt: skip


def check(
    node: Node,
    schema: Mapping[str, Any],
    *,
    at: Optional[Location] = None,
    path: str = "",
    severity: str = "critical",
) -> Iterator[Violation]:
    """Everything that is wrong, in the order of the file's keys. ``at`` is where the node's own key
    stands: what is missing inside is missing there."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = {**STARTUP_CONFIG["$defs"][name], **schema}
    severity = schema.get("x-severity", severity)
    wrong = _mismatch(node, schema)
    if wrong:
        name = path.rpartition(".")[2] or "the entry"
        message = f"{name} must be {wrong}, here stands {node.describe()}"
        yield Violation(message, node.location, severity, wrong, node.describe(), path)
        return
    if node.kind == "mapping":
        yield from _check_mapping(node, schema, at or node.location, path, severity)
    for index, item in enumerate(node.items if "items" in schema else ()):
        yield from check(item, schema["items"], path=f"{path}[{index}]", severity=severity)


def _check_mapping(
    node: Node, schema: Mapping[str, Any], at: Location, path: str, severity: str
) -> Iterator[Violation]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in node.entries:
            weight = properties.get(key, {}).get("x-missing", severity)
            message = f"required key {key} is missing"
            yield Violation(message, at, weight, key, "no such key", _join(path, key))
    others = schema.get("additionalProperties", True)
    for key, entry in node.entries.items():
        place, inner = node.location_of(key), _join(path, key)
        if key in properties:
            yield from check(entry.node, properties[key], at=place, path=inner, severity=severity)
        elif others is False:
            known = ", ".join(sorted(properties))
            message = f"unknown key {key}"
            yield Violation(message, place, "info", f"one of: {known}", key, inner)
        elif others is not True:
            yield from check(entry.node, others, at=place, path=inner, severity=severity)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _mismatch(node: Node, schema: Mapping[str, Any]) -> Optional[str]:
    """What was expected, or None when the node itself (not what is inside of it) fits."""
    if "anyOf" in schema:
        wanted = [_mismatch(node, choice) for choice in schema["anyOf"]]
        return None if None in wanted else " or ".join(text for text in wanted if text)
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    actual = _kind(node)
    if kinds and actual not in kinds and not (actual == "integer" and "number" in kinds):
        words = " or ".join(_TYPES[kind] for kind in kinds) + _range(schema)
        return str(schema.get("x-expected", words))
    value = node.value
    measured = isinstance(value, (int, float)) and not isinstance(value, bool)
    if measured and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{_TYPES[kinds[0]]}{_range(schema)}"
    if isinstance(value, str) and not _text_fits(value, schema):
        return str(schema.get("x-expected", "text of another form"))
    return None


def _text_fits(text: str, schema: Mapping[str, Any]) -> bool:
    refused = schema.get("not", {}).get("pattern")
    wanted = len(text) >= schema.get("minLength", 0) and re.search(schema.get("pattern", ""), text)
    return bool(wanted) and not (refused and re.search(refused, text))


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""


def _kind(node: Node) -> str:
    if node.kind != "scalar":
        return "object" if node.kind == "mapping" else "array"
    if node.value is None:
        return "null"
    return {bool: "boolean", int: "integer", float: "number"}.get(type(node.value), "string")
