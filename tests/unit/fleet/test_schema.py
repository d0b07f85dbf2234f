# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema says the same to an editor as to us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet import schema
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.yaml_document import parse

CHECKOUT = Path(__file__).resolve().parents[3]
SHIPPED = CHECKOUT / "docs" / "startup_config.schema.json"
AGENT = {"script_path": "a.py", "port": 7000, "health_check_port": 8000}


def test_the_shipped_file_is_this_schema() -> None:
    assert json.loads(SHIPPED.read_text()) == json.loads(json.dumps(schema.STARTUP_CONFIG))


def test_it_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.STARTUP_CONFIG)


@pytest.mark.parametrize("host", ["mainpc", "pc2"])
def test_the_real_files_fit(host: str) -> None:
    document = yaml.safe_load((CHECKOUT / f"tests/fixtures/fleet/{host}/startup_config.yaml").read_text())
    jsonschema.Draft202012Validator(schema.STARTUP_CONFIG).validate(document)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 80, 128, 1023, 1024, 7000, 65535, 65536, 1.5, 99.5]),
    st.sampled_from(["", "a.py", "${PORT_OFFSET}+7000", "7000", "a\nb", "a\n", "a\u202eb"]),
    st.lists(st.sampled_from(["A", 5, None]), max_size=2),
    st.dictionaries(st.sampled_from(["order", "level", "cpu_percent", "x"]), st.sampled_from([1, "x", None, 0])),
)


@given(st.dictionaries(st.sampled_from([*schema.AGENT["properties"], "unheard_of"]), VALUES, max_size=4))
@settings(max_examples=500, deadline=None)
def test_both_find_the_same_in_an_agent(changes: dict[str, Any]) -> None:
    entry = {**AGENT, **changes}
    node = parse(yaml.safe_dump(entry).encode(), "f").root
    assert node is not None
    whole = {**schema.AGENT, "$defs": schema.STARTUP_CONFIG["$defs"]}
    theirs = {
        (error.absolute_path[0] if error.absolute_path else "unheard_of")
        for error in jsonschema.Draft202012Validator(whole).iter_errors(entry)
    }
    ours = {violation.key.partition(".")[0].partition("[")[0] for violation in schema.check(node, schema.AGENT)}
    assert ours == theirs


@pytest.mark.parametrize("missing", list(AGENT))
def test_both_miss_a_required_key(missing: str) -> None:
    entry = {key: value for key, value in AGENT.items() if key != missing}
    node = parse(yaml.safe_dump(entry).encode(), "f").root
    assert node is not None
    assert [violation.key for violation in schema.check(node, schema.AGENT)] == [missing]
