# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP server as an object store: WebDAV (RFC 4918) where it is spoken, plain PUT, GET and DELETE else."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import ssl
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, Mapping, Optional, Sequence
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from .faults import MissingObjectError, NoRoomError, OffsiteError, PermissionRefusedError
from .store import BEGINNING, Bounded, Peek

TIMEOUT = 60.0
_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_ASIDE = ".part"
_LIST = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getcontentlength/><resourcetype/></prop></propfind>'
_DEEPEST = 8
_MOST_LISTED = 64 * 1024 * 1024


class _Passing(Exception):
    """The connection broke, or the server is ill: another attempt may do."""


class WebDav:
    """Objects below one URL. With WebDAV an object is uploaded beside its name and moved to it."""

    def __init__(self, url: str, authorization: Optional[str], ca_file: Optional[str], patience: float) -> None:
        parts = urlsplit(url)
        self.where = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
        self._host, self._port, self._tls = parts.hostname or "", parts.port, parts.scheme == "https"
        self._base = quote(unquote(parts.path).rstrip("/"))
        self._headers = {"Authorization": authorization} if authorization else {}
        try:
            self._context = ssl.create_default_context(cafile=ca_file) if self._tls else None
        except OSError as error:
            raise OffsiteError(f"The certificates cannot be read: {error.strerror}", where=ca_file) from error
        self._patience = patience
        self._own = threading.local()
        self._made: set[str] = set()
        self._making = threading.Lock()
        self._moves = True
        self.can_list = self._speaks_webdav()

    def put(self, name: str, source: Path) -> None:
        if self.can_list:
            self._make_folders(name.rpartition("/")[0])
        aside = name + _ASIDE if self.can_list and self._moves else name
        status = self._upload(aside, source)
        if status == 409 and self.can_list:
            self._made.clear()
            self._make_folders(name.rpartition("/")[0])
            status = self._upload(aside, source)
        self._expect(status, "write", name, (200, 201, 204))
        if aside != name:
            target = f"{'https' if self._tls else 'http'}://{self._netloc()}{self._path(name)}"
            status = self._request("MOVE", aside, {"Destination": target, "Overwrite": "T"})
            if status in (405, 501):
                self._moves = False
                self._request("DELETE", aside)
                return self.put(name, source)
            if status == 404 and self._holds(name, source):
                # It was moved, and the answer to that was lost.
                return None
            self._expect(status, "write", name, (201, 204))
        return None

    def _holds(self, name: str, source: Path) -> bool:
        peek = self.peek(name)
        return peek is not None and peek.size == source.stat().st_size

    def get(self, name: str, target: Path, most: int) -> None:
        def save(answer: http.client.HTTPResponse) -> None:
            if answer.status == 200:
                with open(target, "wb") as file:
                    shutil.copyfileobj(answer, Bounded(file, most, self._full(name)), 1 << 20)
                wanted = answer.getheader("Content-Length")
                if wanted is not None and target.stat().st_size != int(wanted):
                    raise _Passing("the answer was cut off")

        self._expect(self._request("GET", name, receive=save), "read", name, (200,))

    def peek(self, name: str) -> Optional[Peek]:
        found: list[Peek] = []

        def look(answer: http.client.HTTPResponse) -> None:
            if answer.status in (200, 206):
                beginning = answer.read(BEGINNING)
                whole = (answer.getheader("Content-Range") or "").rpartition("/")[2]
                size = whole if answer.status == 206 else answer.getheader("Content-Length")
                if not (size or "").isdigit():
                    raise OffsiteError("The server does not say how large an object is", where=self._full(name))
                found.append(Peek(int(size or 0), beginning))

        status = self._request("GET", name, {"Range": f"bytes=0-{BEGINNING - 1}"}, receive=look)
        if status in (404, 410):
            return None
        if status == 416:
            return Peek(0, b"")
        self._expect(status, "read", name, (200, 206))
        return found[-1]

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        if not self.can_list:
            raise OffsiteError(
                "This server does not list what it holds", where=self.where, fix="Use one that speaks WebDAV (PROPFIND)"
            )
        for name, size in self._folder(prefix.rstrip("/")):
            if size is None and name.count("/") >= _DEEPEST:
                raise OffsiteError("The server lists folders in folders without an end", where=self._full(name))
            if size is None:
                yield from self.list(name + "/")
            elif not name.endswith(_ASIDE):
                yield name, size

    def delete(self, name: str) -> None:
        self._expect(self._request("DELETE", name), "delete", name, (200, 202, 204, 404, 410))

    def _speaks_webdav(self) -> bool:
        """Where our folder is not there yet, the nearest one above it says what the server speaks."""
        folder = self._base + "/"
        while True:
            status = self._request("PROPFIND", "", {"Depth": "0"}, body=_LIST, path=folder)
            if folder == self._base + "/" and status in (401, 403):
                self._expect(status, "list", "", ())
            if status != 404 or folder == "/":
                return status == 207
            folder = folder.rstrip("/").rpartition("/")[0] + "/"

    def _folder(self, folder: str) -> Sequence[tuple[str, Optional[int]]]:
        """(name, size) of what lies in a folder; the size of a folder is None."""
        texts: list[bytes] = []

        def save(answer: http.client.HTTPResponse) -> None:
            if answer.status == 207:
                texts.append(answer.read(_MOST_LISTED))

        status = self._request("PROPFIND", folder, {"Depth": "1"}, body=_LIST, receive=save)
        if status == 404:
            return []
        self._expect(status, "list", folder, (207,))
        if b"<!DOCTYPE" in texts[-1] or b"<!ENTITY" in texts[-1]:
            raise OffsiteError("The server's list of objects is not one of WebDAV", where=self._full(folder))
        try:
            root = ElementTree.fromstring(texts[-1])
        except ElementTree.ParseError as error:
            raise OffsiteError(f"The server's list of objects is not XML: {error}", where=self._full(folder)) from error
        found: list[tuple[str, Optional[int]]] = []
        for response in root.iter("{DAV:}response"):
            path = unquote(urlsplit(response.findtext("{DAV:}href") or "").path).rstrip("/")
            base = unquote(self._path(folder)).rstrip("/")
            name = path[len(base) + 1 :]
            if not path.startswith(base + "/") or "/" in name or name in ("", ".", ".."):
                continue
            relative = f"{folder}/{name}" if folder else name
            is_folder = response.find(".//{DAV:}resourcetype/{DAV:}collection") is not None
            size = response.findtext(".//{DAV:}getcontentlength") or "0"
            found.append((relative, None if is_folder else int(size) if size.isdigit() else 0))
        return found

    def _make_folders(self, folder: str) -> None:
        """MKCOL for the folder and whatever is missing above it, above our own base too."""
        parts = [part for part in f"{self._base}/{quote(folder)}".split("/") if part]
        with self._making:
            for count in range(1, len(parts) + 1):
                path = "/" + "/".join(parts[:count])
                if path not in self._made:
                    # What is there already is answered by 405, what is above our own folder maybe by 403.
                    status = self._request("MKCOL", "", path=path + "/")
                    self._expect(status, "make a folder", folder, (200, 201, 301, 302, 403, 405))
                    self._made.add(path)

    def _upload(self, name: str, source: Path) -> int:
        return self._request("PUT", name, {"Content-Type": "application/octet-stream"}, source=source)

    def _request(
        self,
        method: str,
        name: str,
        headers: Optional[Mapping[str, str]] = None,
        *,
        body: Optional[bytes] = None,
        source: Optional[Path] = None,
        receive: Optional[Callable[[http.client.HTTPResponse], None]] = None,
        path: Optional[str] = None,
    ) -> int:
        """The status of the answer; tries again while the connection breaks or the server says 5xx."""
        said, pause, begun = "", _PAUSE, time.monotonic()
        while not said or time.monotonic() - begun + pause < self._patience:
            if said:
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                status = self._once(method, path or self._path(name), dict(headers or {}), body, source, receive)
            except (_Passing, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLEOFError) as error:
                said = str(error) or type(error).__name__
                self._close()
                continue
            except ssl.SSLError as error:
                raise OffsiteError(
                    f"The server's certificate is not trusted: {error.reason}", where=self.where
                ) from error
            except OSError as error:
                if error.filename is not None:
                    raise
                said = error.strerror or str(error)
                self._close()
                continue
            if status not in (500, 502, 503, 504):
                return status
            said = f"the server said {status}"
        raise OffsiteError(
            f"The endpoint does not answer as it should: {said}",
            where=self.where,
            fix="Run again when it is back: what was sent is kept",
        )

    def _once(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Optional[bytes],
        source: Optional[Path],
        receive: Optional[Callable[[http.client.HTTPResponse], None]],
    ) -> int:
        connection = self._connection()
        with contextlib.ExitStack() as stack:
            # Whatever goes wrong, half an answer must not be taken for the next one.
            stack.push(lambda kind, _error, _trace: self._close() if kind else None)
            content = stack.enter_context(open(source, "rb")) if source else body
            if source is not None:
                headers["Content-Length"] = str(os.stat(source).st_size)
            try:
                connection.request(method, path or "/", content, {**self._headers, **headers})
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses need not read what it refuses; its answer may be there.
                if content is None:
                    raise
            answer = connection.getresponse()
            if receive is not None:
                receive(answer)
            # What nobody wants to read is not worth the transfer.
            if answer.will_close or (answer.length or 0) > 1 << 20:
                self._close()
            else:
                answer.read()
            return answer.status

    def _connection(self) -> http.client.HTTPConnection:
        connection: Optional[http.client.HTTPConnection] = getattr(self._own, "connection", None)
        if connection is None:
            if self._context is not None:
                connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=self._context)
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)
            self._own.connection = connection
        return connection

    def _close(self) -> None:
        connection = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()
            self._own.connection = None

    def _expect(self, status: int, action: str, name: str, good: tuple[int, ...]) -> None:
        where = self._full(name)
        if status in good:
            return
        if status in (401, 403):
            raise PermissionRefusedError(
                f"The server refuses to {action} (status {status})", where=where, fix="Correct the credentials"
            )
        if status in (404, 410):
            raise MissingObjectError("This object is not there", where=where)
        if status in (413, 507):
            raise NoRoomError(
                f"The server has no room (status {status})", where=where, fix="Make room there, and run again"
            )
        raise OffsiteError(f"The server refuses to {action} (status {status})", where=where)

    def _netloc(self) -> str:
        return f"{self._host}:{self._port}" if self._port else self._host

    def _path(self, name: str) -> str:
        return f"{self._base}/{quote(name)}" if name else self._base + "/"

    def _full(self, name: str) -> str:
        return f"{self.where.rstrip('/')}/{name}"
