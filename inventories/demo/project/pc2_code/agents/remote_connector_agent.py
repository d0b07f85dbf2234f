# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a URL apart."""

from urllib.parse import urlsplit

from pc2_code import service_shell


def work(query):
    """``/?url=URL``"""
    parts = urlsplit(query.get("url", ""))
    return {"scheme": parts.scheme, "host": parts.hostname, "path": parts.path}


if __name__ == "__main__":
    service_shell.run(work, health_protocol="zmq")
