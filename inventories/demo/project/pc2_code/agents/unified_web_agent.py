# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a piece of HTML."""

import re

from pc2_code import service_shell


def work(query):
    """``/?html=TEXT``"""
    return {"text": re.sub(r"<[^>]*>", " ", query.get("html", "")).split()}


if __name__ == "__main__":
    service_shell.run(work, state_kind="sqlite", health_protocol="zmq")
