# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a Vault server, under hvac: few connections that stay open, no redirects, nothing from the environment,
and no word of an answer in an error."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from json import loads
from typing import Any, Iterator, Mapping, Optional

from ..age_keys import required
from ..effects import SystemClock
from .answers import text
from .endpoint import Endpoint
from .faults import SecretError
from .model import Hidden
from .patience import Patience

UPGRADING = "Upgrading from non-versioned to versioned data"
SEALED = "Vault is sealed"
_PART, _LARGEST = 1 << 16, 32 << 20
_PURPOSE = "Reading secrets from Vault"


@dataclass(frozen=True)
class Answer:
    """``body`` is None where there is no JSON object in it."""

    status: int
    headers: Mapping[str, str]
    body: Optional[dict[str, Any]]
    empty: bool

    def says(self, text: str) -> bool:
        errors = (self.body or {}).get("errors")
        return isinstance(errors, list) and any(text in str(error) for error in errors)


@dataclass(frozen=True)
class Problem:
    """Why an attempt is no success; ``again`` whether another one may be."""

    code: str
    what: str
    again: bool = False
    fix: Optional[str] = None
    retry_after: Optional[str] = None


_BY_STATUS = {
    400: Problem("refused", "Vault refuses the request"),
    403: Problem("denied", "the token or its policies do not allow this", fix="Allow it in a policy of this host"),
    404: Problem("missing", "there is nothing at this path"),
    405: Problem("refused", "this path does not do this", fix="Is it the path that was meant?"),
    412: Problem("unavailable", "this server is behind the active one", again=True),
    429: Problem("rate_limited", "Vault asks to come back later", again=True),
    472: Problem("standby", "this server is a disaster recovery secondary", again=True),
    473: Problem("standby", "this server is a performance standby", again=True),
    501: Problem("sealed", "this server is not initialised"),
}

_TOO_SLOW = Problem("unreachable", "Vault does not answer in time", again=True)


class Transport:
    """Thread-safe. Everything is counted: ``requests`` are attempts that were made."""

    def __init__(self, endpoint: Endpoint, patience: Patience) -> None:
        library = required("requests", _PURPOSE, "hvac")
        self.endpoint = endpoint
        self.requests = 0
        self._base = endpoint.address.rstrip("/")
        self._patience = patience
        self._faults = library.exceptions
        self._session = library.Session()
        self._session.trust_env = False
        pool = library.adapters.HTTPAdapter(max_retries=0)
        # The first generation of urllib3 names no host that is an IP address to the context, and compares it itself.
        lower = required("urllib3", _PURPOSE, "hvac")
        self._lower = lower.exceptions
        second = not lower.__version__.startswith("1.")
        context = endpoint.context(check_hostname=second)
        pool.init_poolmanager(1, endpoint.parallel, block=True, ssl_context=context)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, pool)

    def close(self) -> None:
        self._session.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        token: Optional[Hidden],
        headers: Mapping[str, str],
        json: Any = None,
        params: Any = None,
        once: bool = False,
    ) -> Answer:
        """One exchange, tried again where that may help. ``once`` is for what must not arrive twice.

        An answer without an error, or a 404 that carries data (a deleted version), comes back. Raises SecretError.
        """
        sent = {"X-Vault-Request": "true", "Accept-Encoding": "identity", **headers}
        if self.endpoint.namespace:
            sent["X-Vault-Namespace"] = self.endpoint.namespace
        if token is not None:
            sent["X-Vault-Token"] = token.text()
        attempt, redirected = 0, False
        while True:
            answer, problem = self._attempt(method, url, sent, json, params)
            if answer is not None and 300 <= answer.status < 400:
                problem = self._redirect(answer, redirected)
                if problem is None:
                    redirected = True
                    continue
            elif answer is not None:
                problem = judge(answer)
            if problem is None and answer is not None:
                return answer
            again = problem is not None and problem.again and (not once or _was_not_served(answer))
            if problem is None or not again or not self._patience.wait(attempt, problem.retry_after):
                raise self._error(method, url, answer, problem)
            attempt += 1

    def _attempt(
        self, method: str, url: str, headers: Mapping[str, str], json: Any, params: Any
    ) -> tuple[Optional[Answer], Optional[Problem]]:
        self.requests += 1
        try:
            response = self._session.request(
                method,
                f"{self._base}/{url.lstrip('/')}",
                headers=headers,
                json=json,
                params=params,
                timeout=(self.endpoint.connect, self.endpoint.answer),
                allow_redirects=False,
                verify=self.endpoint.verify,
                cert=self.endpoint.client_certificate,
                stream=True,
            )
            content, problem = self._content(response)
            return (_answer(response, content), None) if problem is None else (None, problem)
        except (self._faults.Timeout, self._lower.TimeoutError):
            return None, _TOO_SLOW
        except (self._faults.RequestException, self._lower.HTTPError) as error:
            return None, _unreachable(error, isinstance(error, self._faults.SSLError))
        except OSError as error:
            return None, Problem("unreadable", f"a file for TLS cannot be used: {error.strerror}")
        except ValueError:
            return None, Problem("unreadable", "a credential or a name holds characters that cannot be sent")

    def _content(self, response: Any) -> tuple[bytes, Optional[Problem]]:
        """What comes within the time and size that an answer may have: a server may send one byte at a time."""
        # Sockets wait by the clock of the machine, too.
        clock = SystemClock()
        end = clock.monotonic() + self.endpoint.answer
        take = getattr(response.raw, "read1", response.raw.read)
        content = bytearray()
        problem: Optional[Problem] = None
        part = take(_PART)
        while part and problem is None:
            content += part
            if len(content) > _LARGEST:
                problem = Problem("not_vault", "the answer is larger than any of Vault's")
            elif clock.monotonic() > end:
                problem = _TOO_SLOW
            else:
                part = take(_PART)
        length = response.headers.get("Content-Length", "")
        if problem is None and length.isdigit() and len(content) < int(length):
            # Not every version of urllib3 notices.
            problem = Problem("unreachable", "the connection broke in the middle of an answer", again=True)
        if problem is not None:
            response.close()
        return bytes(content), problem

    def _redirect(self, answer: Answer, redirected: bool) -> Optional[Problem]:
        """None when the redirect was followed; later requests go straight there."""
        known = self.endpoint.admits(answer.headers.get("Location", ""))
        if known is None or answer.status not in (307, 308):
            fix = "If that is where Vault is, name it as the address, or in `redirects_to`"
            return Problem("redirected", "the server points elsewhere, and nothing is sent there", fix=fix)
        if redirected:
            return Problem("redirected", "the servers point at each other", again=True)
        self._base = known.rstrip("/")
        return None

    def _error(self, method: str, url: str, answer: Optional[Answer], problem: Optional[Problem]) -> SecretError:
        problem = problem or Problem("not_vault", "there is no answer")
        status = f" (HTTP {answer.status})" if answer is not None else ""
        where = f"{self._base}/{url.lstrip('/')}"
        return SecretError(problem.code, f"{problem.what}{status}", where=where, fix=problem.fix)


def _was_not_served(answer: Optional[Answer]) -> bool:
    """Whether a server said that it did not even begin."""
    return answer is not None and answer.status in (412, 429, 472, 473, 503)


def _answer(response: Any, content: bytes) -> Answer:
    body: Any = None
    try:
        body = loads(content) if content else None
    except (ValueError, RecursionError):
        body = None
    return Answer(response.status_code, response.headers, body if isinstance(body, dict) else None, not content)


def judge(answer: Answer) -> Optional[Problem]:
    """What is wrong with an answer, by its status; None when nothing is."""
    status = answer.status
    if 200 <= status < 300:
        if answer.body is None and not answer.empty:
            fix = "Is a proxy in between, or is this the address of something else?"
            return Problem("not_vault", "this is not an answer of Vault", fix=fix)
        return None
    if status == 404 and isinstance((answer.body or {}).get("data"), dict):
        return None
    if status == 503 and answer.says(SEALED):
        return Problem("sealed", "Vault is sealed", fix="Unseal it; until then what was injected before stays")
    if status == 400 and answer.says(UPGRADING):
        return Problem("unavailable", "Vault prepares this mount", again=True)
    known = _BY_STATUS.get(status)
    if known is None and status >= 500:
        known = Problem("unavailable", "Vault, or a proxy before it, is in trouble", again=True)
    known = known or Problem("not_vault", "this is not an answer of Vault")
    return Problem(known.code, known.what, known.again, known.fix, answer.headers.get("Retry-After"))


def _unreachable(error: BaseException, is_tls: bool) -> Problem:
    """An attempt without an answer. Of its cause only what Python itself says of a certificate is shown."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            said = cause.verify_message.rstrip(".")
            return Problem(
                "untrusted",
                f"the certificate of the server is not to be trusted: {said}",
                fix="Name the authority that signed it in `ca_file`",
            )
        if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return Problem("unreachable", "the server ended the connection", again=True)
        if isinstance(cause, ssl.SSLError):
            reason = str(cause.reason or "no common ground").replace("_", " ").lower()
            return Problem("untrusted", f"no TLS connection comes about: {reason}")
    if is_tls:
        return Problem("untrusted", "the certificate of the server is not to be trusted: it names another host")
    return Problem("unreachable", "Vault cannot be reached, or the connection broke", again=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it wraps, in arguments or by chaining."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


class Adapter:
    """What hvac sends its requests through, in place of its own: it hands on parsed answers, or raises SecretError."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.hidden_token: Optional[Hidden] = None
        self.base_uri = transport.endpoint.address
        self.namespace = transport.endpoint.namespace

    @property
    def token(self) -> Optional[str]:
        """hvac looks at it."""
        return self.hidden_token.text() if self.hidden_token else None

    @token.setter
    def token(self, token: Optional[str]) -> None:
        self.hidden_token = Hidden(token.encode()) if token else None

    def get(self, url: str, **options: Any) -> Any:
        return self.request("get", url, **options)

    def post(self, url: str, **options: Any) -> Any:
        return self.request("post", url, **options)

    def put(self, url: str, **options: Any) -> Any:
        return self.request("put", url, **options)

    def list(self, url: str, **options: Any) -> Any:
        return self.request("list", url, **options)

    def login(self, url: str, use_token: bool = True, **options: Any) -> Any:
        """A login: its token is ours from now on. The token that we have is not sent."""
        body = self._exchange("post", url, token=None, **options)
        token = text(body, "auth", "client_token")
        if token is None:
            raise SecretError("not_vault", "the answer to a login holds no token", where=f"{self.base_uri}{url}")
        if use_token:
            self.token = token
        return body

    def request(self, method: str, url: str, **options: Any) -> Any:
        return self._exchange(method, url, token=self.hidden_token, **options)

    def close(self) -> None:
        self.transport.close()

    def _exchange(
        self,
        method: str,
        url: str,
        *,
        token: Optional[Hidden],
        headers: Optional[Mapping[str, str]] = None,
        json: Any = None,
        params: Any = None,
        once: bool = False,
        **_unused: Any,
    ) -> Any:
        answer = self.transport.send(
            method.upper(), url, token=token, headers=headers or {}, json=json, params=params, once=once
        )
        return answer.body


def client(endpoint: Endpoint, patience: Patience) -> Any:
    """An hvac client on such an adapter. Its environment variables and token file are not looked at."""
    library = required("hvac", _PURPOSE)
    adapter = Adapter(Transport(endpoint, patience))
    return library.Client(url=endpoint.address, token="", cert=(), verify=True, adapter=lambda **_options: adapter)
