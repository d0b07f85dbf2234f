# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a startup config does not say of its agents: who hands over a socket, how each is probed.

One table of rules; for each key the first rule that matches the agent and has the key wins.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Callable, Mapping, Optional, Sequence

from ..effects import Probe, Unit
from ..errors import ContinuityError
from ..fleet.model import Agent

KEYS: Mapping[str, tuple[type, ...]] = {
    "match": (list, str),
    "socket": (bool, list),
    "overlap": (bool,),
    "probe": (dict,),
    "user": (str,),
    "stop_seconds": (int, float),
    "credentials": (dict,),
}
PROBE_KEYS: Mapping[str, tuple[type, ...]] = {
    "kind": (str,),
    "port": (str, int),
    "path": (str,),
    "request": (str,),
    "argv": (list,),
    "max_age": (int, float),
    "timeout": (int, float),
}
_LINE = re.compile(r"[^\x00-\x1f\x7f]+")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
LONGEST_SECONDS = 86400.0


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and _LINE.fullmatch(value) is not None


def _is_word(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and "\0" not in str(value)


VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "match": (lambda globs: all(isinstance(glob, str) for glob in globs), "globs"),
    "user": (lambda user: _USER.fullmatch(user) is not None, "the name of a user"),
    "stop_seconds": (lambda seconds: 0 <= seconds <= LONGEST_SECONDS, "seconds, at most a day"),
    "timeout": (lambda seconds: 0 < seconds <= LONGEST_SECONDS, "seconds above 0, at most a day"),
    "max_age": (lambda seconds: 0 < seconds < math.inf, "seconds above 0"),
    "path": (_is_path, "a path in one line"),
    "argv": (lambda words: all(_is_word(word) for word in words), "a list of words"),
    "credentials": (
        lambda files: all(_FILE.fullmatch(str(name)) and _is_path(path) for name, path in files.items()),
        "a mapping of plain file names to paths",
    ),
}
"""What a value of the right type must be, beside: these end up in unit files and in argument lists."""
PROBE_KINDS = ("http", "zmq", "tcp", "command", "file_age")
DEFAULTS: Mapping[str, Any] = {
    "socket": False,
    "overlap": False,
    "probe": {"kind": "tcp", "port": "port"},
    "stop_seconds": 10.0,
}

_PORT = re.compile(r"(port|health_check_port)(?:\+(\d{1,5}))?")


class RuleError(ContinuityError):
    """A rule that cannot be understood, or that asks for what the agent does not have."""


@dataclass(frozen=True)
class AgentRules:
    """The rules of one host, checked. ``rules`` keep the order in which they were given."""

    rules: tuple[Mapping[str, Any], ...] = field(default=())

    @classmethod
    def parse(cls, given: Sequence[Mapping[str, Any]]) -> AgentRules:
        """Raises RuleError naming the first rule with an unknown key or a value of a wrong type."""
        if not isinstance(given, (list, tuple)):
            raise RuleError(f"expected a list of rules, found {given!r}", where="continuity_agent_rules")
        for number, rule in enumerate(given, start=1):
            where = f"continuity_agent_rules, rule {number}"
            if not isinstance(rule, dict) or "match" not in rule:
                raise RuleError("a rule is a mapping with the key match", where=where)
            _check(rule, KEYS, where)
            if "probe" in rule:
                _check(rule["probe"], PROBE_KEYS, f"{where}, probe")
                if rule["probe"].get("kind") not in PROBE_KINDS:
                    raise RuleError(f"kind is one of {', '.join(PROBE_KINDS)}", where=f"{where}, probe")
        return cls(tuple(_normal(rule) for rule in given))

    def of(self, agent: Agent) -> dict[str, Any]:
        """What the rules say of this agent, completed by the defaults."""
        found: dict[str, Any] = {}
        for rule in self.rules:
            if any(fnmatchcase(str(agent.id), pattern) for pattern in rule["match"]):
                found = {**rule, **found}
        found.pop("match", None)
        return {**DEFAULTS, **found}


def bind_address(agent: Agent, address: Optional[str]) -> str:
    """Where the agent listens: the host's declared address, else what the config says, else loopback."""
    return address or {"localhost": "127.0.0.1"}.get(agent.bind_host or "", agent.bind_host) or "127.0.0.1"


def unit_of(agent: Agent, rule: Mapping[str, Any], bind: str) -> Unit:
    """The agent's unit; its paths are relative to the host root. ``socket: true`` means the agent's port,
    a list means each of its ports."""
    handed_over = rule["socket"] if isinstance(rule["socket"], list) else ["port"] * rule["socket"]
    return Unit(
        agent=agent.name,
        directory=f"state/{agent.name}",
        log_file=f"logs/{agent.name}.log",
        sockets=tuple(f"{bind}:{_port(agent, port, 'socket')}" for port in handed_over),
        overlap=rule["overlap"] and bool(handed_over),
        user=rule.get("user"),
        stop_seconds=float(rule["stop_seconds"]),
        credentials=dict(rule.get("credentials", {})),
    )


def probe_of(agent: Agent, rule: Mapping[str, Any], bind: str) -> Probe:
    """How the agent is asked; the file of a ``file_age`` probe is relative to the host root."""
    asked = dict(rule["probe"])
    kind, port = asked.pop("kind"), asked.pop("port", "port")
    if "argv" in asked:
        asked["argv"] = tuple(str(word) for word in asked["argv"])
    if kind == "file_age":
        if "path" not in asked:
            raise RuleError("a file_age probe needs path", where=str(agent.id))
        asked["target"] = os.path.join(f"state/{agent.name}", asked.pop("path"))
    elif kind == "command":
        if not asked.get("argv"):
            raise RuleError("a command probe needs argv", where=str(agent.id))
    else:
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
        asked["target"] = f"{reachable}:{_port(agent, port, 'probe')}"
    return Probe(agent=agent.name, kind=kind, **asked)


def _port(agent: Agent, port: Any, purpose: str) -> int:
    """``port`` as a number: itself, or a declared port plus an offset."""
    if re.fullmatch(r"-?[0-9]{1,20}", str(port)):
        return _in_range(int(port), agent, purpose)
    match = _PORT.fullmatch(str(port))
    if match is None:
        raise RuleError(
            f"{purpose}: port {port!r} is neither a number nor 'port' or 'health_check_port' (+ a number)",
            where=str(agent.id),
        )
    claim = agent.port if match.group(1) == "port" else agent.health_check_port
    if claim is None or claim.number is None:
        raise RuleError(
            f"{purpose}: the agent has no usable {match.group(1)}",
            where=str(agent.location),
            fix="Declare it, give the values of its expression, or write a rule for "
            f"{agent.id} in continuity_agent_rules",
        )
    return _in_range(claim.number + int(match.group(2) or 0), agent, purpose)


def _in_range(number: int, agent: Agent, purpose: str) -> int:
    if not 1 <= number <= 65535:
        raise RuleError(f"{purpose}: {number} is no port, they go from 1 to 65535", where=str(agent.id))
    return number


def _normal(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The rule in one spelling, so that the same rules are the same input to a release."""
    normal = dict(rule)
    normal["match"] = [rule["match"]] if isinstance(rule["match"], str) else [str(glob) for glob in rule["match"]]
    if "stop_seconds" in rule:
        normal["stop_seconds"] = float(rule["stop_seconds"])
    return normal


def _check(given: Any, known: Mapping[str, tuple[type, ...]], where: str) -> None:
    if not isinstance(given, dict):
        raise RuleError("expected a mapping", where=where)
    for key, value in given.items():
        if key not in known:
            raise RuleError(f"unknown key {key!r}; known are {', '.join(known)}", where=where)
        if not isinstance(value, known[key]) or (isinstance(value, bool) and bool not in known[key]):
            names = " or ".join(kind.__name__ for kind in known[key])
            raise RuleError(f"{key} is {value!r}, expected {names}", where=where)
        fits, expected = VALUES.get(key, (None, ""))
        if fits is not None and not fits(value):
            raise RuleError(f"{key} is {value!r}, expected {expected}", where=where)
