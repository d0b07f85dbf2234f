# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host takes itself back when nobody confirms: after the deadline, and after a reboot.

Nothing here quarantines a release: that nobody confirmed it says something about the controller or
the network, and nothing about the release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ..effects import boot_id
from ..errors import ContinuityError
from .apply import start_deadman
from .rollback import RollbackResult, Wish, is_due, roll_back

if TYPE_CHECKING:
    from ..host import Host

ATTEMPTS = 5
PAUSE_SECONDS = 5.0


def watch(host: Host) -> Optional[RollbackResult]:
    """Wait for the deadline in the ledger, look again, and roll back what is still unfinished.

    Returns None when the rollout ended otherwise. A rollback that does not succeed is tried again a
    few times; the last failure is raised.
    """
    attempt = 0
    while True:
        state = host.ledger.state()
        unfinished = state.unfinished
        if unfinished is None or unfinished.deadline is None:
            return None
        if not is_due(host, state):
            host.clock.sleep(max(0.05, unfinished.deadline - host.clock.monotonic()))
            continue
        attempt += 1
        try:
            result = roll_back(host, _wish("nobody confirmed the rollout before its deadline"), only_if_due=True)
            if result.changed and (result.ok or attempt >= ATTEMPTS):
                return result
        except ContinuityError:
            if attempt >= ATTEMPTS:
                raise
        host.clock.sleep(PAUSE_SECONDS)


def check_boot(host: Host) -> Optional[RollbackResult]:
    """Take back what was armed in an earlier boot and never confirmed; None when there is nothing.

    Called before the agents start, it only moves links back; agents that run already are replaced.
    In the boot that armed it (the supervisor alone was restarted), the dead man is started again.
    """
    unfinished = host.ledger.state().unfinished
    if unfinished is None or unfinished.deadline is None:
        return None
    if unfinished.boot_id == boot_id():
        start_deadman(host)
        return None
    return roll_back(host, _wish("the host was restarted before the rollout was confirmed", only_running=True))


def _wish(reason: str, *, only_running: bool = False) -> Wish:
    return Wish(reason=reason, stop_deadman=False, only_running=only_running)
