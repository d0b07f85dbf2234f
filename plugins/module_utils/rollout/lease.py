# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change this host, and until when.

A lease needs nobody alive to end it: when its time is over, the next one takes it, and the ledger
says so. A file lock makes each decision one at a time; it is held only while deciding.

Time is taken from the clock that cannot be set, together with the boot that it counts in, so moving
the wall clock neither ends a lease early nor makes it last. After a reboot only wall time is left; then
a lease counts while wall time is inside the span for which it was given, and a clock that went behind
its beginning ends it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Optional

from ..effects import Clock, boot_id
from ..errors import ContinuityError
from ..journal.durable import locked, make_directory, sync_directory, write_file
from .ledger import Ledger


class LeaseError(ContinuityError):
    """This host is not ours to change now."""


class LeaseHeld(LeaseError):
    """Somebody else's lease lasts."""


@dataclass(frozen=True)
class LeaseRecord:
    """``lease.json``. ``taken`` and ``expires`` are wall time (seconds since 1970, for people and for the
    time after a reboot), ``expires_monotonic`` is the same end on the clock of the boot ``boot_id``."""

    owner: str
    run: str
    taken: float
    expires: float
    boot_id: str
    expires_monotonic: float

    def remaining(self, now: float, monotonic: float, boot: str) -> float:
        """Seconds that it still lasts; 0 or less when it is over."""
        if boot == self.boot_id:
            return self.expires_monotonic - monotonic
        return self.expires - now if now >= self.taken else 0.0


class Lease:
    """The lease of one host root."""

    def __init__(self, root: str, ledger: Ledger, clock: Clock) -> None:
        self.path = os.path.join(root, "ledger", "lease.json")
        self._lock = os.path.join(root, "ledger", "lease.lock")
        self._ledger = ledger
        self._clock = clock

    def holder(self) -> Optional[LeaseRecord]:
        """The lease as it stands, live or over; None when there is none."""
        try:
            with open(self.path, "rb") as file:
                return LeaseRecord(**json.loads(file.read()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise LeaseError(
                f"the lease cannot be read: {error}",
                where=self.path,
                fix="Remove the file when nobody changes the host",
            ) from error

    def live(self) -> Optional[LeaseRecord]:
        """The lease, if it still lasts."""
        record = self.holder()
        return record if record is not None and self._remaining(record) > 0 else None

    def acquire(self, owner: str, run: str, seconds: float, *, wait: float = 0.0) -> LeaseRecord:
        """Take the lease, or renew our own; ``wait`` seconds for another owner to end.

        A lease that is over, or that an earlier run of the same owner left, is taken over, and the
        ledger says so. Raises LeaseError naming owner and expiry while another owner's lease lasts.
        """
        make_directory(os.path.dirname(self.path))
        deadline = self._clock.monotonic() + wait
        while True:
            try:
                with locked(self._lock):
                    return self._take(owner, run, seconds)
            except LeaseHeld:
                if self._clock.monotonic() >= deadline:
                    raise
            self._clock.sleep(min(1.0, wait))

    def foresee(self, owner: str, run: str, seconds: float) -> LeaseRecord:
        """The lease that ``acquire`` would leave now; raises as it would, changes nothing."""
        held = self.holder()
        if held is not None and held.owner != owner and self._remaining(held) > 0:
            raise self._held_by(held)
        return self._record(owner, run, seconds)

    def _take(self, owner: str, run: str, seconds: float) -> LeaseRecord:
        held, record = self.holder(), self.foresee(owner, run, seconds)
        until = time_of(record.expires)
        if held is None:
            self._ledger.append("lease_taken", run=run, owner=owner, expires=until)
        elif (held.owner, held.run) != (owner, run):
            self._ledger.append(
                "lease_taken_over",
                run=run,
                owner=owner,
                expires=until,
                from_owner=held.owner,
                from_run=held.run,
                reason="same owner, other run" if self._remaining(held) > 0 else "expired",
            )
        self._write(record)
        return record

    def renew(self, owner: str, run: str, seconds: float) -> LeaseRecord:
        """Make our lease last ``seconds`` from now, even one that is over, if nobody took it meanwhile."""
        with locked(self._lock):
            held = self.holder()
            if held is None or (held.owner, held.run) != (owner, run):
                raise self._not_ours(held, owner, run)
            record = self._record(owner, run, seconds)
            self._write(record)
        return record

    def belongs(self, owner: str, run: str) -> bool:
        """Whether there is a lease and it is ours. Raises LeaseError when it is another's."""
        held = self.holder()
        if held is not None and (held.owner, held.run) != (owner, run):
            raise self._not_ours(held, owner, run)
        return held is not None

    def release(self, owner: str, run: str) -> bool:
        """Give our lease back; False when there was none. Raises LeaseError when it is another's."""
        if not self.belongs(owner, run):
            return False
        with locked(self._lock):
            if not self.belongs(owner, run):
                return False
            os.unlink(self.path)
            sync_directory(os.path.dirname(self.path))
            self._ledger.append("lease_released", run=run, owner=owner)
        return True

    def _record(self, owner: str, run: str, seconds: float) -> LeaseRecord:
        now = self._clock.now()
        return LeaseRecord(owner, run, now, now + seconds, boot_id(), self._clock.monotonic() + seconds)

    def _remaining(self, record: LeaseRecord) -> float:
        return record.remaining(self._clock.now(), self._clock.monotonic(), boot_id())

    def _write(self, record: LeaseRecord) -> None:
        write_file(self.path, (json.dumps(asdict(record), sort_keys=True) + "\n").encode())

    def _held_by(self, held: LeaseRecord) -> LeaseHeld:
        return LeaseHeld(
            f"{held.owner} (run {held.run}) may change this host until {time_of(held.expires)}, "
            f"{self._remaining(held):.0f} s from now",
            where=self.path,
            fix="Wait for it to end, or end that run",
        )

    def _not_ours(self, held: Optional[LeaseRecord], owner: str, run: str) -> LeaseError:
        now = f"{held.owner} (run {held.run}) has it" if held is not None else "nobody has it"
        return LeaseError(
            f"the lease of {owner} (run {run}) is gone: {now}",
            where=self.path,
            fix="Stop here: this host is no longer ours to change",
        )


def to_plain(lease: Optional[LeaseRecord]) -> Optional[dict[str, str]]:
    """A lease as modules return it."""
    return None if lease is None else {"owner": lease.owner, "run": lease.run, "expires": time_of(lease.expires)}


def time_of(seconds: float) -> str:
    """Wall time as text, UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
