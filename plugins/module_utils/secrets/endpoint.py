# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Vault server is, and how it is trusted."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from typing import Any, Optional, Union
from urllib.parse import SplitResult, urlsplit

from .faults import SecretError


@dataclass(frozen=True)
class Endpoint:
    """``address`` is ``https://host:port``. ``redirects_to`` are addresses to which a redirect may point.
    ``insecure`` is the reason why certificates are not checked. Times are seconds: ``connect`` and ``answer`` for
    one attempt, ``patience`` for all that is tried again in a task. ``parallel`` bounds the connections."""

    address: str
    namespace: Optional[str] = None
    ca_file: Optional[str] = None
    client_certificate_file: Optional[str] = None
    client_key_file: Optional[str] = None
    insecure: Optional[str] = None
    redirects_to: tuple[str, ...] = ()
    connect: float = 5.0
    answer: float = 15.0
    patience: float = 30.0
    parallel: int = 8

    def __post_init__(self) -> None:
        for address in (self.address, *self.redirects_to):
            parts = _parts(address)
            if parts.scheme == "http" and not _is_loopback(str(parts.hostname)) and not self.insecure:
                raise SecretError(
                    "untrusted",
                    "tokens are not sent without TLS",
                    where=address,
                    fix="Use https, or say in `insecure` why it must be",
                )

    @property
    def warnings(self) -> list[str]:
        if not self.insecure:
            return []
        return [f"INSECURE: the certificate of {self.address} is not checked: {self.insecure}"]

    @property
    def verify(self) -> Union[bool, str]:
        """For requests: the file with the authorities; theirs of the system where none is named."""
        if self.insecure:
            return False
        return self.ca_file or ssl.get_default_verify_paths().cafile or True

    @property
    def client_certificate(self) -> Any:
        if self.client_certificate_file and self.client_key_file:
            return (self.client_certificate_file, self.client_key_file)
        return self.client_certificate_file

    def context(self, *, check_hostname: bool = True) -> ssl.SSLContext:
        """For connections. ``check_hostname`` False: the caller compares the name with the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = check_hostname and not self.insecure
        if self.insecure:
            context.verify_mode = ssl.CERT_NONE
        return context

    def admits(self, location: str) -> Optional[str]:
        """The address among ours that a redirect points to; None where it points elsewhere."""
        target = _origin(urlsplit(location))
        return next((known for known in (self.address, *self.redirects_to) if _origin(_parts(known)) == target), None)


def _parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.username is not None or parts.query or parts.fragment or parts.path.strip("/"):
        raise SecretError(
            "unreadable", "this is not the address of a Vault server", fix="It looks like https://vault.example:8200"
        )
    return parts


def _origin(parts: SplitResult) -> tuple[str, Optional[str], Optional[int]]:
    try:
        port = parts.port
    except ValueError:
        port = 0
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
