# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 and Azure Blob, by the library obstore."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, TypeVar

from ..age_keys import required
from . import credentials
from .faults import MissingObjectError, NoRoomError, OffsiteError, PermissionRefusedError
from .store import BEGINNING, Bounded, Peek

PART = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_REFUSED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthenticationFailed",
    "AuthorizationFailure",
)
_Result = TypeVar("_Result")


class ObStore:
    """One bucket or container, and a prefix in it."""

    can_list = True

    def __init__(self, where: str, store: Any, library: Any) -> None:
        self.where = where
        self._store = store
        self._library = library
        self._faults = required("obstore.exceptions", "This destination")

    def put(self, name: str, source: Path) -> None:
        many = source.stat().st_size > PART
        self._call(
            "write",
            name,
            lambda: self._library.put(
                self._store,
                name,
                source,
                use_multipart=many,
                chunk_size=PART,
                max_concurrency=PARTS_AT_ONCE,
            ),
        )

    def get(self, name: str, target: Path, most: int) -> None:
        def save() -> None:
            with open(target, "wb") as stream:
                file = Bounded(stream, most, f"{self.where}/{name}")
                for piece in self._library.get(self._store, name).stream(min_chunk_size=1 << 20):
                    file.write(bytes(piece))

        self._call("read", name, save)

    def peek(self, name: str) -> Optional[Peek]:
        def look() -> Peek:
            found = self._library.head(self._store, name)
            if not found["size"]:
                return Peek(0, b"")
            end = min(BEGINNING, found["size"])
            return Peek(found["size"], bytes(self._library.get_range(self._store, name, start=0, end=end)))

        try:
            return self._call("read", name, look)
        except MissingObjectError:
            return None

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        pages = iter(self._library.list(self._store, prefix=prefix.rstrip("/") or None))
        while True:
            page = self._call("list", prefix, lambda: next(pages, None))
            if page is None:
                return
            for found in page:
                yield found["path"], found["size"]

    def delete(self, name: str) -> None:
        try:
            self._call("delete", name, lambda: self._library.delete(self._store, name))
        except MissingObjectError:
            return

    def _call(self, action: str, name: str, work: Callable[[], _Result]) -> _Result:
        """Do it, and say in our own words what went wrong: the library's hold addresses and signatures."""
        where = f"{self.where}/{name}".rstrip("/")
        try:
            return work()
        except (self._faults.BaseError, OSError, RuntimeError) as error:
            raise self._fault(error, action, where) from None

    def _fault(self, error: BaseException, action: str, where: str) -> OffsiteError:
        text = str(error)
        code, status = _CODE.search(text), _STATUS.search(text)
        said = " ".join(found.group(1) for found in (status, code) if found)
        absent = isinstance(error, (FileNotFoundError, self._faults.NotFoundError)) or said.startswith("404")
        if absent and (action in ("list", "write") or (code and code.group(1) in _NO_BUCKET)):
            return OffsiteError(
                f"There is no such bucket or container ({said})", where=self.where, fix="Make it, or correct the name"
            )
        refused = (self._faults.PermissionDeniedError, self._faults.UnauthenticatedError)
        if (
            isinstance(error, refused)
            or (code and code.group(1) in _REFUSED)
            or (status and status.group(1) in ("401", "403"))
        ):
            return PermissionRefusedError(
                f"The endpoint refuses to {action} ({said or 'permission'})", where=where, fix="Correct the credentials"
            )
        if absent:
            return MissingObjectError("This object is not there", where=where)
        if status and status.group(1) in ("413", "507"):
            return NoRoomError(f"The endpoint has no room ({said})", where=where, fix="Make room there, and run again")
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            return OffsiteError(f"{error.strerror}", where=str(error.filename))
        return OffsiteError(
            f"The endpoint does not answer as it should ({said or 'no connection'}), cannot {action}",
            where=where,
            fix="Run again when it is back: what was sent is kept",
        )


def s3(
    bucket: str,
    prefix: str,
    *,
    endpoint: Optional[str],
    region: Optional[str],
    profile: str,
    credentials_file: Optional[str],
    ca_file: Optional[str],
    patience: float,
) -> ObStore:
    library = required("obstore", "A copy in S3")
    keys = credentials.aws(credentials_file, profile)
    config: dict[str, Any] = {"region": region or (keys and keys.region) or "us-east-1"}
    if keys is not None:
        config.update(access_key_id=keys.key_id, secret_access_key=keys.secret)
        if keys.token:
            config["session_token"] = keys.token
    if endpoint:
        config["endpoint"] = endpoint
    return _open("S3Store", library, f"s3://{bucket}/{prefix}", bucket, prefix, config, endpoint, ca_file, patience)


def azure(
    container: str,
    prefix: str,
    *,
    endpoint: Optional[str],
    credentials_file: Optional[str],
    ca_file: Optional[str],
    patience: float,
) -> ObStore:
    library = required("obstore", "A copy in Azure Blob")
    if credentials_file is None:
        raise OffsiteError(
            "A copy in Azure Blob needs credentials", where=f"az://{container}", fix="Name a file in credentials_file"
        )
    parts = credentials.azure(credentials_file)
    endpoint = endpoint or parts.get("BlobEndpoint")
    config: dict[str, Any] = {"account_name": parts.get("AccountName") or _account(endpoint or "")}
    if "AccountKey" in parts:
        config["account_key"] = parts["AccountKey"]
    else:
        config["sas_key"] = parts["SharedAccessSignature"].lstrip("?")
    if endpoint is None and parts.get("EndpointSuffix"):
        scheme = parts.get("DefaultEndpointsProtocol", "https")
        endpoint = f"{scheme}://{config['account_name']}.blob.{parts['EndpointSuffix']}"
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
    return _open(
        "AzureStore", library, f"az://{container}/{prefix}", container, prefix, config, endpoint, ca_file, patience
    )


def _account(endpoint: str) -> str:
    return endpoint.partition("://")[2].partition(".")[0]


def _open(
    kind: str,
    library: Any,
    where: str,
    bucket: str,
    prefix: str,
    config: Mapping[str, Any],
    endpoint: Optional[str],
    ca_file: Optional[str],
    patience: float,
) -> ObStore:
    options: dict[str, Any] = {
        "connect_timeout": "10s",
        "timeout": "300s",
        "allow_http": (endpoint or "").startswith("http://"),
    }
    retry = {
        "max_retries": 20,
        "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
        "retry_timeout": timedelta(seconds=patience),
    }
    if ca_file is not None:
        try:
            options["root_certificate"] = Path(ca_file).read_bytes()
        except OSError as error:
            raise OffsiteError(f"The certificates cannot be read: {error.strerror}", where=ca_file) from error
    stores = required("obstore.store", "This destination")
    faults = required("obstore.exceptions", "This destination")
    try:
        store = getattr(stores, kind)(
            bucket, prefix=prefix or None, config=dict(config), client_options=options, retry_config=retry
        )
    except (faults.BaseError, ValueError) as error:
        raise OffsiteError(
            f"The destination cannot be opened ({type(error).__name__})",
            where=where,
            fix="Look at the credentials, endpoint and ca_file",
        ) from None
    return ObStore(where.rstrip("/"), store, library)
