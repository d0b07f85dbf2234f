# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials on the command lines and in the environments of running processes.

Read from ``/proc`` (proc(5)): ``cmdline`` can be read by every user of the host, ``environ`` by the same
user and root. A finding names the process and the place, and a keyed fingerprint instead of the value.
"""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass
from typing import Any, Iterator, NamedTuple, Optional, Tuple

from ..errors import ContinuityError
from .credential_names import credential_name
from .literal_values import PLAIN, SETTING, assess
from .provider_tokens import tokens
from .text_lines import ENVIRONMENT, SHELL, addresses, assignments

PROC = "/proc"
LARGEST = 256 * 1024
"""Bytes that are read of a command line or an environment."""

SHORTEST_KEY = 16


class ProcessFinding(NamedTuple):
    """``place`` is ``argument N`` (0 is the program) or ``variable NAME``; ``fingerprint`` is keyed, so
    equal ones of one key are equal values."""

    pid: int
    uid: int
    exe: str
    place: str
    kind: str
    rule: str
    fingerprint: str

    def document(self) -> dict[str, Any]:
        return {**self._asdict(), "class": "live"}


@dataclass(frozen=True)
class ProcessScan:
    """``closed`` is how many processes keep their environment from this user."""

    findings: tuple[ProcessFinding, ...]
    processes: int
    closed: int


def read_key(path: str) -> bytes:
    """The key of fingerprints. Raises ContinuityError, which never repeats what the file holds."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            key = stream.read(4096).strip()
    except OSError as error:
        raise ContinuityError(f"The key cannot be read: {error.strerror}", where=path) from None
    if mode & 0o077:
        raise ContinuityError("Others can read the key", where=path, fix="chmod 0400 it")
    if len(key) < SHORTEST_KEY:
        raise ContinuityError(f"The key is shorter than {SHORTEST_KEY} bytes", where=path, fix="Draw a longer one")
    return key


def scan_processes(key: Optional[bytes] = None, proc: str = PROC) -> ProcessScan:
    """Every process that is there now; one that ends meanwhile is left out."""
    drawn = key or secrets.token_bytes(32)
    found: list[ProcessFinding] = []
    processes = closed = 0
    reader = _Reader()
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        folder = f"{proc}/{name}"
        arguments, variables = _read(f"{folder}/cmdline"), _read(f"{folder}/environ")
        if arguments is None:
            continue
        processes += 1
        closed += variables is None and bool(arguments)
        told = reader.told(arguments, variables or b"")
        if told:
            uid, exe = _who(folder)
            for place, (kind, rule, value) in told:
                digest = hmac.new(drawn, value.encode("utf-8", "surrogateescape"), "sha256").hexdigest()[:12]
                found.append(ProcessFinding(int(name), uid, exe, place, kind, rule, digest))
    return ProcessScan(tuple(sorted(found)), processes, closed)


def _read(path: str) -> Optional[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, LARGEST)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _who(folder: str) -> tuple[int, str]:
    try:
        uid = os.stat(folder).st_uid
    except OSError:
        return -1, ""
    try:
        return uid, os.fsencode(os.readlink(f"{folder}/exe")).decode("utf-8", "backslashreplace")
    except OSError:
        return uid, ""


_Told = Tuple[str, str, str]
"""Kind, rule, and the value, which goes into the fingerprint and nowhere else."""


class _Reader:
    """What words and variables are: asked once for each, since children have what their parents had."""

    def __init__(self) -> None:
        self._variables: dict[bytes, tuple[_Told, ...]] = {}
        self._arguments: dict[tuple[bytes, bytes], tuple[_Told, ...]] = {}

    def told(self, arguments: bytes, variables: bytes) -> list[tuple[str, _Told]]:
        """Place and finding."""
        result: list[tuple[str, _Told]] = []
        before = b""
        for number, word in enumerate(arguments.split(b"\0")):
            known = self._arguments.get((before, word))
            if known is None:
                known = self._arguments[before, word] = tuple(_of_argument(_text(before), _text(word)))
            for one in known:
                result.append((f"argument {number}", one))
            before = word
        for entry in variables.split(b"\0"):
            known = self._variables.get(entry)
            if known is None:
                known = self._variables[entry] = tuple(_of_variable(_text(entry)))
            for one in known:
                result.append((f"variable {_shown(entry.partition(b'=')[0][:100])}", one))
        return result


def _text(content: bytes) -> str:
    return content[:20_000].decode("utf-8", "surrogateescape")


def _shown(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")


def _of_argument(before: str, word: str) -> Iterator[_Told]:
    option = credential_name(before.lstrip("-")) if before.startswith("-") and "=" not in before else None
    if option and assess(word, option, SETTING) == PLAIN:
        yield option.kind, "command-argument", word
        return
    taken = []
    for start, end, kind, rule in _by_form(word):
        taken.append((start, end))
        yield kind, rule, word[start:end]
    if not any(sign in word for sign in "=: "):
        return
    plain = word.lstrip("-")
    for hit in assignments(1, plain, SHELL if " " in word else ENVIRONMENT):
        start, end = hit.start + len(word) - len(plain), hit.end + len(word) - len(plain)
        if hit.state == PLAIN and not any(start < b and a < end for a, b in taken):
            taken.append((start, end))
            yield hit.kind, hit.rule, word[start:end]


def _of_variable(entry: str) -> Iterator[_Told]:
    name, _sign, value = entry.partition("=")
    called = credential_name(name)
    for start, end, kind, rule in _by_form(value):
        yield kind, rule, value[start:end]
        return
    if called and assess(value, called, SETTING) == PLAIN:
        yield called.kind, "assigned-value", value


def _by_form(text: str) -> Iterator[tuple[int, int, str, str]]:
    for token in tokens(text):
        if not token.sample:
            yield token.start, token.end, token.kind, token.rule
    if "://" in text:
        for hit in addresses(1, text):
            if hit.state == PLAIN:
                yield hit.start, hit.end, hit.kind, hit.rule
