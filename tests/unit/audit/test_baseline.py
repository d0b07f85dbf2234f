# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepted findings: matched narrowly, for a reason, for a time."""

from __future__ import annotations

from datetime import date

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.audit.baseline import (
    Baseline,
    BaselineError,
    read_baseline,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.findings import Finding

TODAY = date(2026, 11, 20)


def finding(rule="C-range", host="mainpc", agent="A", file="c.yaml", **evidence):
    return Finding(rule, "warning", host, agent, file, 3, "message", evidence)


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Baseline:
        path = tmp_path / "baseline.yml"
        path.write_text(text)
        return read_baseline(str(path))

    return write


def entry(expires="2027-01-01", **patterns):
    keys = {**patterns, "reason": "known", "expires": expires}
    return "accepted:\n  - " + "\n    ".join(f"{key}: {value!r}" for key, value in keys.items()) + "\n"


MATCHING = [
    {"rule": "C-range"},
    {"risk": "C"},
    {"rule": "C-*", "host": "main*"},
    {"rule": "C-range", "host": "mainpc", "agent": "A", "file": "c.yaml", "port": 26002},
]
NOT_MATCHING = [
    {"rule": "C-collision"},
    {"risk": "B"},
    {"rule": "C-range", "host": "pc2"},
    {"rule": "C-range", "agent": "AA"},
    {"rule": "C-range", "port": 26003},
    {"rule": "C-range", "file": "d.yaml"},
    {"rule": "C-range", "member": "mainpc:A"},
]


@pytest.mark.parametrize("patterns", MATCHING)
def test_what_matches_is_accepted(written, patterns):
    applied = written(entry(**patterns)).apply([finding(port=26002)], TODAY)
    assert applied.remaining == () and len(applied.accepted) == 1 and applied.unused == ()
    assert applied.document()["accepted"][0]["accepted"]["reason"] == "known"


@pytest.mark.parametrize("patterns", NOT_MATCHING)
def test_what_does_not_match_stays_and_the_entry_is_named(written, patterns):
    applied = written(entry(**patterns)).apply([finding(port=26002)], TODAY)
    assert len(applied.remaining) == 1 and applied.accepted == ()
    assert [one.where.rpartition(":")[2] for one in applied.unused] == ["2"]
    assert "matches nothing" in applied.lines()[-1]


def test_members_are_matched_one_by_one(written):
    collision = finding("C-collision", agent=None, port=7150, members=["pc2:Vision", "pc2:error_bus_port"])
    assert written(entry(rule="C-collision", member="pc2:Vision")).apply([collision], TODAY).remaining == ()
    assert written(entry(rule="C-collision", agent="Vision")).apply([collision], TODAY).remaining == ()


def test_the_last_day_counts(written):
    assert written(entry(rule="C-range", expires="2026-11-20")).apply([finding()], TODAY).remaining == ()


def test_an_expired_entry_accepts_nothing_and_is_named(written):
    applied = written(entry(rule="C-range", expires="2026-11-19")).apply([finding()], TODAY)
    assert len(applied.remaining) == 1 and len(applied.expired) == 1 and applied.unused == ()
    assert "expired on 2026-11-19" in applied.lines()[0]


def test_an_empty_baseline_accepts_nothing(written):
    assert written("").apply([finding()], TODAY).remaining == (finding(),)
    assert written("accepted: []\n").entries == ()


REFUSED = {
    "no reason": ("accepted:\n  - {rule: C-range, expires: 2027-01-01}\n", "needs 'reason'"),
    "empty reason": ("accepted:\n  - {rule: C-range, reason: ' ', expires: 2027-01-01}\n", "needs 'reason'"),
    "no expiry": ("accepted:\n  - {rule: C-range, reason: known}\n", "needs 'expires'"),
    "no date": ("accepted:\n  - {rule: C-range, reason: known, expires: never}\n", "no date"),
    "matches everything": (
        "accepted:\n  - {host: mainpc, reason: known, expires: 2027-01-01}\n",
        "its rule or its risk",
    ),
    "unknown key": (
        "accepted:\n  - {rule: C-range, hots: x, reason: known, expires: 2027-01-01}\n",
        "Unknown key 'hots'",
    ),
    "unknown rule": ("accepted:\n  - {rule: C-rnage, reason: known, expires: 2027-01-01}\n", "no rule 'C-rnage'"),
    "unknown risk": ("accepted:\n  - {risk: Z, reason: known, expires: 2027-01-01}\n", "no risk 'Z'"),
    "no list": ("accepted: {rule: C-range}\n", "list under the key"),
    "no mapping": ("accepted: [C-range]\n", "is a mapping"),
    "no YAML": ("accepted: [\n", "expected"),
    "key twice": ("accepted: []\naccepted: []\n", "already stands"),
}


@pytest.mark.parametrize("text, message", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_refused_with_its_line(written, text, message):
    with pytest.raises(BaselineError, match=message) as caught:
        written(text)
    assert "baseline.yml:" in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BaselineError, match="cannot be read"):
        read_baseline(str(tmp_path / "none.yml"))
