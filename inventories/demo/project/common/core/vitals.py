# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every agent counts about itself, and how it says so: health and Prometheus metrics."""

import os
import time

from common.core.log import log


class Vitals:
    """Counters of one running agent; the totals over all its lives are kept in its state."""

    def __init__(self, identity, state):
        self.identity = identity
        self.state = state
        self.started = time.time()
        self.requests = 0
        self.errors = 0
        self.totals = {}
        self.trouble = ""
        self._saved = 0

    def save(self, **replaced):
        """Write what was counted since the last call; a state that cannot be used is a trouble, not the end."""
        seen = self.requests
        added = {"requests": seen - self._saved, "beats": 1}
        replaced["written"] = round(time.time(), 3)
        try:
            self.totals = self.state.update(added, replaced)
        except (OSError, ValueError) as error:
            if not self.trouble:
                log(self.identity.name, "ERROR", f"state cannot be used: {error}")
            self.trouble = str(error)
            self.errors += 1
            return
        if self.trouble:
            log(self.identity.name, "INFO", "state can be used again")
        self._saved, self.trouble = seen, ""

    def summary(self):
        return {
            "name": self.identity.name,
            "release": self.identity.release,
            "pid": os.getpid(),
            "requests": self.requests,
            "requests_total": self.totals.get("requests", 0) + self.requests - self._saved,
            "beats_total": self.totals.get("beats", 0),
            "written": self.totals.get("written"),
        }

    def health(self, well="ok", ill="degraded"):
        return {
            "status": ill if self.trouble else well,
            "ready": True,
            "name": self.identity.name,
            "release": self.identity.release,
            "pid": os.getpid(),
            "uptime": round(time.time() - self.started, 3),
            "errors": self.errors,
            "message": self.trouble,
        }

    def metrics(self):
        labels = f'{{agent="{self.identity.name}"}}'
        return (
            "# TYPE agent_up gauge\n"
            f"agent_up{labels} {0 if self.trouble else 1}\n"
            "# TYPE agent_requests_total counter\n"
            f"agent_requests_total{labels} {self.requests}\n"
            "# TYPE agent_errors_total counter\n"
            f"agent_errors_total{labels} {self.errors}\n"
            "# TYPE agent_start_time_seconds gauge\n"
            f"agent_start_time_seconds{labels} {self.started:.3f}\n"
            "# TYPE agent_release_info gauge\n"
            f'agent_release_info{{agent="{self.identity.name}",release="{self.identity.release}"}} 1\n'
        )
