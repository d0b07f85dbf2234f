# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One entry of a startup config, read into an :class:`Agent`, with everything that is wrong in it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Optional, Sequence

from . import declared_ports, expressions
from .model import Agent, AgentId, Dependency, Location, PortClaim
from .reading import Reading
from .schema import AGENT, LINE, LISTED_AGENT, OLD_KEYS, check
from .yaml_document import Entry, Node

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
"""What an agent may be called: its name becomes a folder, a file and a unit."""

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

TELLING_KEYS = frozenset(
    ("script_path", "port", "health_check_port", "required", "dependencies", "env_vars", "module", "class", *OLD_KEYS)
)
"""A mapping with one of these keys was meant to be an agent, with or without a script."""


def names_script(node: Node) -> bool:
    """Whether a mapping says which script it starts."""
    script = node.get("script_path")
    if script is not None:
        return script.kind == "scalar"
    return node.get("script") is not None and len(TELLING_KEYS & set(node.entries)) > 1


def holds_script(node: Node) -> bool:
    """Whether a mapping, or one directly inside of it, says which script it starts."""
    return any(one.kind == "mapping" and names_script(one) for one in (node, *node.inside()))


def looks_like_agent(node: Node) -> bool:
    return node.kind == "mapping" and bool(TELLING_KEYS & set(node.entries))


def read_agent(entry: Node, name: str, location: Location, reading: Reading, *, group: str, listed: bool) -> Agent:
    """The agent, with whatever of it can be read; ``script_path`` is empty when it names none."""
    renamed = _with_present_keys(entry, name, reading)
    _check_shape(renamed, name, location, reading, listed=listed)
    script, script_location = _script(renamed, name, reading)
    ports = {key: _port(renamed, key, name, reading) for key in ("port", "health_check_port")}
    _report_unresolved(ports, name, reading)
    config = renamed.get("config")
    settings = config if config is not None and config.kind == "mapping" else None
    bind_host = renamed.get("host")
    return Agent(
        id=AgentId(reading.host, name),
        location=location,
        script_path=script,
        script_location=script_location,
        group=group,
        port=ports["port"],
        health_check_port=ports["health_check_port"],
        other_ports=tuple(declared_ports.second_level(settings, reading.values)) if settings else (),
        required=_required(renamed, name, reading),
        enabled=all(_flag(renamed, key, reading) is not False for key in ("enabled", "autoload")),
        dependencies=_dependencies(renamed, name, reading),
        environment=environment_of([renamed.get("environment"), renamed.get("env_vars")], reading, agent=name),
        config=settings.plain() if settings else {},
        bind_host=bind_host.text if bind_host is not None and isinstance(bind_host.value, str) else None,
        raw=entry.plain(),
    )


def _with_present_keys(entry: Node, name: str, reading: Reading) -> Node:
    """The same entry with keys of the earlier form under their present names."""
    if not set(OLD_KEYS) & set(entry.entries):
        return entry
    entries: dict[str, Entry] = {}
    for key, item in entry.entries.items():
        present = OLD_KEYS.get(key)
        if present and present not in entry.entries:
            reading.report(
                "G-schema",
                f"{name}: {key} is the old name of {present}",
                entry.location_of(key),
                severity="warning",
                agent=name,
                expected=present,
                found=key,
                key=key,
            )
            key = present
        entries[key] = item
    return replace(entry, entries=entries)


def _check_shape(entry: Node, name: str, location: Location, reading: Reading, *, listed: bool) -> None:
    for violation in check(entry, LISTED_AGENT if listed else AGENT, at=location):
        # dependencies are spoken of in the words of the graph, an agent inside of an agent is a lost one
        unknown = entry.get(violation.key) if violation.severity == "info" else None
        if not violation.key.startswith("dependencies") and not (unknown is not None and holds_script(unknown)):
            reading.report(
                "G-schema",
                f"{name}: {violation.message}",
                violation.location,
                severity=violation.severity,
                agent=name,
                expected=violation.expected,
                found=violation.found,
                key=violation.key,
            )


def _script(entry: Node, name: str, reading: Reading) -> tuple[str, Location]:
    node = entry.get("script_path")
    if node is None or next(check(node, LINE), None) is not None:
        return "", entry.location_of("script_path")
    expansion = expressions.expand(node.text.strip(), reading.values)
    if expansion.missing:
        reading.report(
            "G-schema",
            f"{name}: script_path needs a value for {', '.join(expansion.missing)}",
            node.location,
            agent=name,
            expected="given values for: " + ", ".join(expansion.missing),
            found=node.text,
            key="script_path",
        )
    return expansion.text, entry.location_of("script_path")


def _port(entry: Node, key: str, name: str, reading: Reading) -> Optional[PortClaim]:
    node = entry.get(key)
    claim = declared_ports.claim(key, node, reading.values) if node is not None else None
    if claim is None or not isinstance(claim.raw, str) or not expressions.is_expression(claim.raw):
        return claim
    resolved = expressions.number(claim.raw, reading.values)
    if resolved.value is not None and not 1024 <= resolved.value <= 65535:
        reading.report(
            "G-schema",
            f"{name}: {key} comes to {resolved.value}, outside of 1024 to 65535",
            claim.location,
            agent=name,
            expected="an integer from 1024 to 65535",
            found=f"{claim.raw} = {resolved.value}",
            key=key,
        )
    elif resolved.value is None and not resolved.missing:
        reading.report(
            "C-expression",
            f"{name}: {key} is no sum of integers: {claim.raw}",
            claim.location,
            agent=name,
            expected="integers and variables joined by + or -",
            found=claim.raw,
            key=key,
        )
    return claim


def _report_unresolved(ports: dict[str, Optional[PortClaim]], name: str, reading: Reading) -> None:
    """One warning an agent: what moves its port usually moves its health port as well."""
    open_claims = [claim for claim in ports.values() if claim is not None and claim.number is None]
    missing: dict[str, None] = {}
    for claim in open_claims:
        missing.update(dict.fromkeys(expressions.number(str(claim.raw), reading.values).missing))
    if missing:
        keys = ", ".join(claim.key for claim in open_claims)
        reading.report(
            "C-expression",
            f"{name}: {keys} cannot be resolved without a value for {', '.join(missing)}",
            open_claims[0].location,
            severity="warning",
            agent=name,
            expected="given values for: " + ", ".join(missing),
            found=", ".join(str(claim.raw) for claim in open_claims),
            key=keys,
        )


def _flag(entry: Node, key: str, reading: Reading) -> Optional[bool]:
    node = entry.get(key)
    if node is None or node.kind != "scalar":
        return None
    if isinstance(node.value, str):
        return expressions.truth(node.value, reading.values)
    return node.value if isinstance(node.value, bool) else None


def _required(entry: Node, name: str, reading: Reading) -> Optional[bool]:
    required = _flag(entry, "required", reading)
    node = entry.get("required")
    if node is not None and isinstance(node.value, str) and expressions.is_expression(node.value):
        told = "cannot be told" if required is None else f"comes to {str(required).lower()}"
        reading.report(
            "G-schema",
            f"{name}: required is an expression, which a loader takes for true whatever it says; it {told}",
            node.location,
            severity="warning",
            agent=name,
            expected="true or false",
            found=node.value,
            key="required",
        )
    return required


def _dependencies(entry: Node, name: str, reading: Reading) -> tuple[Dependency, ...]:
    node = entry.get("dependencies")
    if node is None or (node.kind == "scalar" and node.value is None):
        return ()
    if node.kind != "sequence":
        _report_type(node, name, "dependencies must be a list of agent names", "a list of names", reading)
        return ()
    dependencies = []
    for item in node.items:
        if isinstance(item.value, str) and item.value.strip():
            dependencies.append(Dependency(item.value.strip(), item.location))
        else:
            _report_type(item, name, "a dependency must be the name of an agent", "a name", reading)
    return tuple(dependencies)


def _report_type(node: Node, name: str, message: str, expected: str, reading: Reading) -> None:
    reading.report(
        "B-type",
        f"{name}: {message}, here stands {node.describe()}",
        node.location,
        agent=name,
        expected=expected,
        found=node.describe(),
        key="dependencies",
    )


def environment_of(nodes: Sequence[Optional[Node]], reading: Reading, *, agent: Optional[str] = None) -> dict[str, str]:
    """The variables of several nodes, the last one with the last word. Values are text as written:
    expressions are the starting shell's to resolve. A name that no shell accepts is reported and left out."""
    environment: dict[str, str] = {}
    for node in nodes:
        for key, text in variables(node).items() if node is not None else ():
            if VARIABLE.match(key):
                environment[key] = text
            elif node is not None:
                reading.report(
                    "G-schema",
                    f"{agent or 'environment'}: {key!r} cannot be the name of an environment variable",
                    node.location_of(key),
                    agent=agent,
                    expected="letters, digits and '_', no digit first",
                    found=key[:80],
                    key=f"environment.{key}",
                )
    return environment


def variables(node: Node) -> dict[str, str]:
    """Environment variables of a mapping, of ``NAME=value`` items, or of items with ``name`` and ``value``."""
    found = {key: _as_text(entry.node) for key, entry in node.entries.items() if entry.node.kind == "scalar"}
    for item in node.items:
        name, value = item.get("name"), item.get("value")
        if name is not None and value is not None:
            found[name.text] = _as_text(value)
        elif isinstance(item.value, str) and "=" in item.value:
            key, text = item.value.split("=", 1)
            found[key.strip()] = text
    return found


def _as_text(node: Node) -> str:
    return "" if node.value is None else node.text


def entry_name(entry: Node) -> Optional[str]:
    """The ``name`` that an entry gives itself."""
    name: Any = entry.get("name")
    return str(name.text).strip() or None if name is not None and name.kind == "scalar" else None
