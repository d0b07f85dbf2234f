# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One XML-RPC connection to supervisord through its unix socket.

API: http://supervisord.org/api.html. supervisord works off one request at a time, so a batch is one
``system.multicall`` and nothing ever asks it to wait.
"""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from typing import Any, Optional, Sequence, Union
from xml.parsers.expat import ExpatError

from ..errors import ContinuityError

Call = tuple[str, tuple[Any, ...]]

BAD_NAME = 10
NOT_RUNNING = 70
ALREADY_STARTED = 60
ALREADY_ADDED = 90
STILL_RUNNING = 91

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = 0, 10, 20, 30, 40, 100, 200, 1000


class NotAnswering(ContinuityError):
    """supervisord does not run, or does not answer."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout
        self._kept: Optional[_UnixConnection] = None

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._kept is None:
            self._kept = _UnixConnection(self._path, self._timeout)
        return self._kept

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


class Connection:
    """Calls in, values or Faults out, in the same order."""

    def __init__(self, path: str, *, timeout: float = 10.0) -> None:
        self._path = path
        self._transport = _UnixTransport(path, timeout)
        self._proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=self._transport)

    def call(self, method: str, *parameters: Any) -> Any:
        """One value; a fault is a ContinuityError."""
        (answer,) = self.batch([(method, parameters)])
        if isinstance(answer, xmlrpc.client.Fault):
            raise ContinuityError(f"supervisord refused {method}: {answer.faultString}", where=self._path)
        return answer

    def batch(self, calls: Sequence[Call]) -> list[Union[Any, xmlrpc.client.Fault]]:
        """All answers of one exchange. Raises NotAnswering."""
        if not calls:
            return []
        asked = [{"methodName": method, "params": list(parameters)} for method, parameters in calls]
        try:
            answers: Any = self._proxy.system.multicall(asked)
        except (OSError, http.client.HTTPException, ExpatError, xmlrpc.client.Error) as error:
            self._transport.close()
            raise NotAnswering(
                f"supervisord does not answer ({type(error).__name__}: {error})",
                where=self._path,
                fix="Stage the current release once more: that starts supervisord",
            ) from error
        return [
            xmlrpc.client.Fault(answer["faultCode"], answer["faultString"])
            if isinstance(answer, dict) and "faultCode" in answer
            else answer
            for answer in answers
        ]

    def close(self) -> None:
        self._transport.close()
