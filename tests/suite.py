# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every nox session after the other and ends with one line: N passed, N failed, N skipped.

FAST=1 runs lint and unit only. A session that fails without having named a failed test counts as one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

CHECKOUT = Path(__file__).resolve().parent.parent
REPORTS = CHECKOUT / ".cache" / "reports"
PARTS = ("lint", "sanity", "docs", "galaxy", "unit", "module", "attacks", "systemd", "molecule")
FAST = ("lint", "unit")


def counted(part: str) -> tuple[Counter[str], list[str]]:
    """What the JUnit files of a part say, and the name and reason of whatever failed or was skipped."""
    count: Counter[str] = Counter()
    remarks = []
    for report in sorted((REPORTS / part).glob("**/*.xml")):
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname')}: {case.get('name')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                count["failed"] += 1
                remarks.append(f"failed   {name}")
            elif skipped is not None:
                count["skipped"] += 1
                remarks.append(f"skipped  {name}: {skipped.get('message')}")
            else:
                count["passed"] += 1
    return count, remarks


def main() -> int:
    began = time.monotonic()
    total: Counter[str] = Counter()
    lines, remarks = [], []
    for part in FAST if os.environ.get("FAST") == "1" else PARTS:
        print(f"\n== {part}", flush=True)
        started = time.monotonic()
        ended = subprocess.run([sys.executable, "-m", "nox", "--session", part], cwd=CHECKOUT, check=False)
        count, notes = counted(part)
        if ended.returncode != 0 and count["failed"] == 0:
            count["failed"] = 1
            notes.append(f"failed   {part}: ended with status {ended.returncode}")
        line = f"{part:<9} {time.monotonic() - started:6.0f} s  {summary(count)}"
        print(line, flush=True)
        lines.append(line)
        remarks.extend(notes)
        total += count
    print("\n" + "\n".join([*remarks, "", *lines]))
    print(f"{'all':<9} {time.monotonic() - began:6.0f} s")
    print(summary(total))
    return 1 if total["failed"] or not total["passed"] else 0


def summary(count: Counter[str]) -> str:
    return f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"


if __name__ == "__main__":
    sys.exit(main())
