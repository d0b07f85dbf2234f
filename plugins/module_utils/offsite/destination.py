# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a copy goes: what the operator wrote, and the object store behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional
from urllib.parse import unquote, urlsplit

from .directory import Directory
from .faults import OffsiteError
from .store import ObjectStore


@dataclass(frozen=True)
class Destination:
    """``url`` is a path, or starts with ``file s3 gs az http https``; credentials come from files only.
    ``patience`` is how long (seconds) an endpoint that does not answer is asked again."""

    url: str
    endpoint: Optional[str] = None
    region: Optional[str] = None
    profile: str = "default"
    credentials_file: Optional[str] = None
    ca_file: Optional[str] = None
    patience: float = 60.0


def open_store(destination: Destination) -> ObjectStore:
    """The store behind a destination. Raises OffsiteError; libraries are imported only when they are needed."""
    url = destination.url
    if url.startswith("/"):
        return Directory(url)
    parts = urlsplit(url)
    if not parts.scheme:
        raise OffsiteError(
            "A directory is named by its whole path", where=url, fix=f"Write {os.path.abspath(url)}, if that is meant"
        )
    if parts.username is not None or parts.password is not None or parts.query:
        raise OffsiteError(
            "A destination holds no user, password or signature",
            where=f"{parts.scheme}://{parts.hostname}",
            fix="Put them in a file, and name it in credentials_file",
        )
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if parts.scheme == "file":
        return Directory(unquote(parts.path))
    if parts.scheme in ("http", "https") and parts.hostname:
        # Imported here, as the others are: most hosts need one of them.
        from . import credentials, webdav

        authorization = credentials.http(destination.credentials_file, parts.hostname)
        return webdav.WebDav(url, authorization, destination.ca_file, destination.patience)
    if parts.scheme not in ("s3", "gs", "az") or not bucket:
        raise OffsiteError(
            "This is not a destination",
            where=url,
            fix="Name a path, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or https://host/path",
        )
    if parts.scheme == "gs":
        from .gcs import GoogleStorage

        return GoogleStorage(
            bucket,
            prefix,
            endpoint=destination.endpoint,
            credentials_file=destination.credentials_file,
            ca_file=destination.ca_file,
            patience=destination.patience,
        )
    from . import obstores

    if parts.scheme == "az":
        return obstores.azure(
            bucket,
            prefix,
            endpoint=destination.endpoint,
            credentials_file=destination.credentials_file,
            ca_file=destination.ca_file,
            patience=destination.patience,
        )
    return obstores.s3(
        bucket,
        prefix,
        endpoint=destination.endpoint,
        region=destination.region,
        profile=destination.profile,
        credentials_file=destination.credentials_file,
        ca_file=destination.ca_file,
        patience=destination.patience,
    )
