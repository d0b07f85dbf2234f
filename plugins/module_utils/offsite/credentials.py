# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials, from files alone; what is read here is never shown."""

from __future__ import annotations

import base64
import configparser
import netrc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from .faults import OffsiteError


@dataclass(frozen=True)
class AwsKeys:
    key_id: str
    secret: str = field(repr=False)
    token: Optional[str] = field(repr=False)
    region: Optional[str]


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise OffsiteError(
            f"The file with credentials cannot be read: {error.strerror}", where=str(file), fix="Name another file"
        ) from error
    except UnicodeDecodeError as error:
        raise OffsiteError("The file with credentials is not text", where=str(file)) from error


def _sections(file: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_read(file))
    except configparser.Error:
        # What the parser complains of may quote a secret.
        raise OffsiteError("This is not a shared credentials file of AWS", where=str(file)) from None
    return parser


def aws(file: Optional[str], profile: str) -> Optional[AwsKeys]:
    """One section of an AWS shared credentials file; None when none is named and there is no standard one."""
    path = Path(file) if file else Path.home() / ".aws" / "credentials"
    if file is None and not path.exists():
        return None
    parser = _sections(path)
    try:
        section = parser[profile]
        keys = section["aws_access_key_id"], section["aws_secret_access_key"]
    except KeyError as error:
        raise OffsiteError(
            f"There is no {error} for the profile {profile!r}",
            where=str(path),
            fix="Correct the file, or name another profile",
        ) from None
    return AwsKeys(*keys, section.get("aws_session_token"), section.get("region") or _region(profile))


def _region(profile: str) -> Optional[str]:
    config = Path.home() / ".aws" / "config"
    if not config.exists():
        return None
    parser = _sections(config)
    name = profile if profile == "default" else f"profile {profile}"
    return parser.get(name, "region", fallback=None)


def azure(file: str) -> dict[str, str]:
    """The parts of an Azure connection string (``AccountName=…;AccountKey=…;…``)."""
    parts = [part.partition("=") for part in _read(Path(file)).strip().strip('"').split(";") if part.strip()]
    found = {key.strip(): value.strip() for key, _sign, value in parts}
    if not ({"AccountKey", "SharedAccessSignature"} & set(found)) or not ({"AccountName", "BlobEndpoint"} & set(found)):
        raise OffsiteError(
            "This is not a connection string of an Azure storage account",
            where=file,
            fix="The portal shows it under access keys: DefaultEndpointsProtocol=…;AccountName=…;AccountKey=…",
        )
    return found


def http(file: Optional[str], host: str) -> Optional[str]:
    """The value of the Authorization header: from a netrc file, or the one line of a file."""
    path = Path(file) if file else Path.home() / ".netrc"
    if file is None and not path.exists():
        return None
    text = _read(path)
    lines = text.strip().splitlines()
    if len(lines) == 1 and not lines[0].startswith(("machine", "default")):
        return lines[0].strip()
    try:
        login = netrc.netrc(str(path)).authenticators(host)
    except netrc.NetrcParseError:
        raise OffsiteError("This is not a netrc file", where=str(path)) from None
    if login is None:
        if file is None:
            return None
        raise OffsiteError(f"There is no machine {host} in this netrc file", where=str(path))
    user, _account, password = login
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
