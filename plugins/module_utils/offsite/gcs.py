# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Cloud Storage, by Google's own library."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, TypeVar

from ..age_keys import required
from .faults import MissingObjectError, NoRoomError, OffsiteError, PermissionRefusedError
from .store import BEGINNING, Bounded, Peek

_NEEDED = ("A copy in Google Cloud Storage", "google-cloud-storage")
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
PART = 8 * 1024 * 1024
_TIMEOUT = (10.0, 120.0)
_KINDS = {
    "service_account": ("google.oauth2.service_account", "from_service_account_info"),
    "authorized_user": ("google.oauth2.credentials", "from_authorized_user_info"),
}
_Result = TypeVar("_Result")


class GoogleStorage:
    """One bucket, and a prefix in it. Each thread has a connection of its own."""

    can_list = True

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        endpoint: Optional[str],
        credentials_file: Optional[str],
        ca_file: Optional[str],
        patience: float,
    ) -> None:
        self.where = f"gs://{bucket}/{prefix}".rstrip("/")
        self._storage = required("google.cloud.storage", *_NEEDED)
        self._retries = required("google.cloud.storage.retry", *_NEEDED)
        self._faults = required("google.api_core.exceptions", *_NEEDED)
        self._auth = required("google.auth", *_NEEDED)
        self._auth_faults = required("google.auth.exceptions", *_NEEDED)
        self._network = required("requests.exceptions", *_NEEDED)
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._endpoint, self._ca_file = endpoint, ca_file
        self._credentials = self._read_credentials(credentials_file)
        self._patience = patience
        if ca_file is not None and not Path(ca_file).is_file():
            raise OffsiteError("The certificates cannot be read: there is no such file", where=ca_file)
        self._own = threading.local()

    def put(self, name: str, source: Path) -> None:
        self._call(
            "write",
            name,
            lambda: self._blob(name, PART).upload_from_filename(str(source), timeout=_TIMEOUT, retry=self._retry()),
        )

    def get(self, name: str, target: Path, most: int) -> None:
        with open(target, "wb") as stream:
            file = Bounded(stream, most, f"{self.where}/{name}")
            self._call(
                "read",
                name,
                lambda: self._blob(name).download_to_file(
                    file, timeout=_TIMEOUT, retry=self._retry(), raw_download=True
                ),
            )

    def peek(self, name: str) -> Optional[Peek]:
        def look() -> Peek:
            blob = self._blob(name)
            blob.reload(timeout=_TIMEOUT, retry=self._retry())
            if not blob.size:
                return Peek(0, b"")
            last = min(BEGINNING, blob.size) - 1
            # Another blob object: this one has learned an address of its own, which a gateway may not serve.
            beginning = self._blob(name).download_as_bytes(
                start=0, end=last, timeout=_TIMEOUT, retry=self._retry(), raw_download=True, checksum=None
            )
            return Peek(blob.size, beginning[:BEGINNING])

        try:
            return self._call("read", name, look)
        except MissingObjectError:
            return None

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        client = self._client()
        found = self._call(
            "list",
            prefix,
            lambda: iter(
                client.list_blobs(self._bucket, prefix=self._prefix + prefix, timeout=_TIMEOUT, retry=self._retry())
            ),
        )
        while True:
            blob = self._call("list", prefix, lambda: next(found, None))
            if blob is None:
                return
            yield blob.name[len(self._prefix) :], int(blob.size or 0)

    def delete(self, name: str) -> None:
        try:
            self._call("delete", name, lambda: self._blob(name).delete(timeout=_TIMEOUT, retry=self._retry()))
        except MissingObjectError:
            return

    def _read_credentials(self, file: Optional[str]) -> Any:
        try:
            if file is None:
                return self._auth.default(scopes=[_SCOPE])[0]
            described = json.loads(Path(file).read_bytes())
            module, read = _KINDS[described["type"]]
            return getattr(required(module, *_NEEDED).Credentials, read)(described, scopes=[_SCOPE])
        except (self._auth_faults.GoogleAuthError, ValueError, KeyError, TypeError, OSError):
            raise OffsiteError(
                "There are no credentials for Google Cloud Storage"
                if file is None
                else "This is not a credentials file of Google",
                where=file,
                fix="Name the JSON file of a service account in credentials_file",
            ) from None

    def _client(self) -> Any:
        client = getattr(self._own, "client", None)
        if client is None:
            options = {"universe_domain": self._credentials.universe_domain}
            if self._endpoint:
                options["api_endpoint"] = self._endpoint
            client = self._storage.Client(project="-", credentials=self._credentials, client_options=options)
            if self._ca_file:
                self._trust(client._http)
                self._trust(client._http._auth_request.session)
            self._own.client = client
        return client

    def _trust(self, session: Any) -> None:
        """The session's own setting gives way to the environment, where one is set there."""
        adapter = required("requests.adapters", *_NEEDED).HTTPAdapter()
        send = adapter.send
        adapter.send = lambda request, **options: send(request, **{**options, "verify": self._ca_file})
        session.mount("https://", adapter)

    def _blob(self, name: str, part: Optional[int] = None) -> Any:
        return self._client().bucket(self._bucket).blob(self._prefix + name, chunk_size=part)

    def _retry(self) -> Any:
        return self._retries.DEFAULT_RETRY.with_delay(initial=0.2, maximum=5.0).with_timeout(self._patience)

    def _call(self, action: str, name: str, work: Callable[[], _Result]) -> _Result:
        where = f"{self.where}/{name}".rstrip("/")
        try:
            return work()
        except self._faults.NotFound:
            if action in ("list", "write"):
                raise OffsiteError(
                    "There is no such bucket", where=self.where, fix="Make it, or correct the name"
                ) from None
            raise MissingObjectError("This object is not there", where=where) from None
        except (self._faults.Forbidden, self._faults.Unauthorized, self._auth_faults.RefreshError):
            raise PermissionRefusedError(
                f"The endpoint refuses to {action}", where=where, fix="Correct the credentials"
            ) from None
        except (
            self._faults.GoogleAPIError,
            self._auth_faults.GoogleAuthError,
            self._network.RequestException,
            ConnectionError,
        ) as error:
            code = getattr(error, "code", None)
            if code in (413, 507):
                raise NoRoomError(f"The endpoint has no room ({code})", where=where) from None
            raise OffsiteError(
                f"The endpoint does not answer as it should ({code or 'no connection'}), cannot {action}",
                where=where,
                fix="Run again when it is back: what was sent is kept",
            ) from None
