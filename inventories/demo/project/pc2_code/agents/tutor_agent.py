# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a times-table question and checks the answer."""

from pc2_code import service_shell


def work(query):
    """``/?a=3&b=4&answer=12``"""
    product = int(query.get("a", 1)) * int(query.get("b", 1))
    return {"right": query.get("answer") == str(product)}


if __name__ == "__main__":
    service_shell.run(work)
