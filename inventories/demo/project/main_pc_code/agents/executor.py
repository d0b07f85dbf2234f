# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates sums, and nothing else."""

from main_pc_code import httpd


class Executor(httpd.Handler):
    """``/?sum=1+2+3``"""

    def work(self, query):
        terms = query.get("sum", "0").replace("+", " ").split()
        return {"result": sum(int(term) for term in terms)}


if __name__ == "__main__":
    httpd.run(Executor)
