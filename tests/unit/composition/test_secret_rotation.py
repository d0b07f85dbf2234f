# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets change under real agents: those that use them are replaced, and nobody notices; or all of it is taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from secret_site import USERS, Asking, Site, secret_site

from ansible_collections.fleetops.continuity.plugins.module_utils.composition.secret_rotation import RotationError


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with secret_site("good-1") as made:
        yield made


def test_who_uses_a_new_value_is_replaced_and_no_request_is_lost(site: Site) -> None:
    values = {"database_password": "good-2", "unused": "x"}
    expected = site.rotate(values, check=True)
    assert set(expected.replaced) == set(USERS) and site.values() == ["good-1", "good-1"]
    with Asking(site) as asking:
        done = site.rotate(values)
    assert set(done.replaced) == set(USERS) and site.values() == ["good-2", "good-2"]
    assert asking.lost == [] and asking.answered > 20
    assert max(outcome.away_seconds for outcome in done.batch.outcomes) == 0.0
    again = site.rotate(values)
    assert again.replaced == () and not again.injected.plan.changed


def test_a_value_that_nobody_uses_disturbs_nobody(site: Site) -> None:
    done = site.rotate({"database_password": "good-2", "unused": "y", "more": "z"})
    assert done.injected.plan.changed_names == ["more", "unused"] and done.replaced == ()


def test_what_agents_do_not_bear_is_taken_back(site: Site) -> None:
    with Asking(site) as asking, pytest.raises(RotationError) as failure:
        site.rotate({"database_password": "bad-password", "unused": "n", "fresh": "f"})
    said = str(failure.value)
    assert "the old secrets were put back" in said and "not healthy" in said and "bad-password" not in said
    assert site.values() == ["good-2", "good-2"] and asking.lost == []
    names = sorted(path.name for path in site.directory.iterdir() if not path.name.startswith(".."))
    assert names == ["database_password", "more", "unused"]
    assert (site.directory / "unused").read_text() == "y"
    assert site.rotate({"database_password": "good-2", "unused": "y", "more": "z"}).replaced == ()


def test_a_run_that_was_killed_is_carried_on(site: Site) -> None:
    """Killed after the switch: the files are new already, the agents are not."""
    values = {"database_password": "good-3", "unused": "y"}
    site.put(values)
    assert site.values() == ["good-2", "good-2"]
    done = site.rotate(values)
    assert not done.injected.plan.changed and set(done.replaced) == set(USERS)
    assert site.values() == ["good-3", "good-3"]


def test_a_secret_in_use_is_not_taken_away(site: Site) -> None:
    with pytest.raises(RotationError, match="given to Api, Base"):
        site.rotate({"unused": "y"})
    assert (site.directory / "database_password").read_text() == "good-3"


def test_a_rollout_that_is_under_way_comes_first(site: Site) -> None:
    """The last of this file: it leaves the host in the middle of a rollout."""
    host = site.fleet.open("mainpc")
    rollout = {"run": "another", "release": "r-9", "plan": "0" * 64, "request": "0" * 64, "digest": "0" * 64}
    host.ledger.append("staged", **rollout, previous_release=host.ledger.state().current)
    with pytest.raises(RotationError, match="not finished"):
        site.rotate({"database_password": "good-4"})
