# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes in and comes out: requests, replies, refusals, and the envelope around every answer."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass
class Request:
    """One request below ``/v1/``. ``operation`` is read, list, update, delete or patch."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: dict[str, Any]
    certificate: Optional[bytes] = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def operation(self) -> str:
        if self.method == "LIST" or (self.method == "GET" and self.query.get("list") == "true"):
            return "list"
        return {"GET": "read", "HEAD": "read", "POST": "update", "PUT": "update"}.get(self.method, self.method.lower())


@dataclass
class Reply:
    """``body`` None is an empty body; ``typed`` False leaves out the content type."""

    status: int = 200
    body: Optional[dict[str, Any]] = None
    headers: dict[str, str] = field(default_factory=dict)
    typed: bool = True

    @property
    def data(self) -> Any:
        return (self.body or {}).get("data")


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, *errors: str, **headers: str) -> None:
        super().__init__(status, errors)
        self.status = status
        self.errors = list(errors)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def reply(self) -> Reply:
        return Reply(self.status, {"errors": self.errors}, self.headers)


def answer(data: Any = None, *, status: int = 200, **fields: Any) -> Reply:
    """An answer in its envelope. ``fields`` replace those of the envelope."""
    body = {
        "request_id": "",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }
    return Reply(status, {**body, **fields})


def nothing() -> Reply:
    return Reply(204)


def several(text: str) -> str:
    """How an error looks that was collected with others."""
    return f"1 error occurred:\n\t* {text}\n\n"


def missing() -> Refusal:
    return Refusal(404)


def unsupported() -> Refusal:
    return Refusal(405, several("unsupported operation"))


def seconds(value: Any) -> int:
    """A duration as Vault takes it: a number, or ``30m``. Raises ValueError."""
    if isinstance(value, (int, float)):
        return int(value)
    text = str(value).strip()
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if not re.fullmatch(r"-?(\d+[smhd])+", text):
        raise ValueError(f"time: invalid duration {text!r}")
    total = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))
    return -total if text.startswith("-") else total


def duration(value: int) -> str:
    """As Go prints it: ``1h0m0s``, ``5m0s``, ``3s``."""
    hours, rest = divmod(value, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


def timestamp(now: float) -> str:
    moment = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def names(value: Any) -> list[str]:
    """A list, or a text with commas."""
    if value is None:
        return []
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else list(value)
