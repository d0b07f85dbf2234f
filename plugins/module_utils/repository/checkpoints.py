# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a scrub has come, so that one that was killed goes on. Lies in tmp/, where anything may vanish."""

from __future__ import annotations

import errno
import json

from ..effects import Clock
from .layout import Repository, canonical, is_digest

OWNER = ".scrub"
"""Its folder in tmp/: the name of no host."""
_EVERY = 5.0
_TOO_OLD = 7 * 86400.0


class Checkpoint:
    """The packs of one share that were read and are sound. ``kept`` is False where nothing can be written."""

    def __init__(self, repository: Repository, share: str, clock: Clock, restart: bool = False) -> None:
        self._repository, self._clock = repository, clock
        self._file = repository.root / "tmp" / OWNER / f"{share.replace('/', '-')}.json"
        self._begun = clock.now()
        self._written = clock.monotonic()
        self.kept = True
        self.checked: set[bytes] = set()
        if not restart:
            self._load()

    def _load(self) -> None:
        try:
            document = json.loads(self._file.read_bytes())
            begun, checked = float(document["begun"]), [str(one) for one in document["checked"]]
        except (OSError, ValueError, KeyError, TypeError):
            # Nothing that can be relied on: everything is read again.
            return
        if 0 <= self._clock.now() - begun < _TOO_OLD and all(map(is_digest, checked)):
            self._begun, self.checked = begun, set(map(bytes.fromhex, checked))

    def add(self, pack: bytes) -> None:
        self.checked.add(pack)
        if self._clock.monotonic() - self._written >= _EVERY:
            self.write()

    def write(self) -> None:
        self._written = self._clock.monotonic()
        content = canonical({"begun": self._begun, "checked": sorted(pack.hex() for pack in self.checked)})
        try:
            self._repository.publish(self._file, content, OWNER)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            self.kept = False

    def finish(self) -> None:
        """The share was read to its end: the next scrub begins anew."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            self.kept = False
