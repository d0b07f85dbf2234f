# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line per event on standard output, which the supervisor puts into the agent's log file."""

import time


def log(name, level, message):
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), level, name, message, flush=True)
