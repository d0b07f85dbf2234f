# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is moved and how it is called, what is left and why; hostile YAML; names that depend on nothing but places."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import migration_plan, placeholders
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.migration_plan import Plan, plan
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.migration_report import (
    plan_document,
    plan_of,
    plan_text,
    settings_of,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.placeholder_names import Wish, named
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.placeholders import replaced
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_baseline import ScanBaseline

ONE, TWO, THREE = "Kx82mdPq0aLz", "Vm73hdKs9wPb", "Gt65bcNw8rYe"
TOKEN = "ghp_" + "x7Kd02mQzLp93WcVbT81nYrJf64HgEs5uAoD"
FLEET = Path(__file__).parents[2] / "fixtures" / "fleet"
SETTINGS = settings_of(
    {
        "source": {"kind": "age"},
        "writer": {"recipients": []},
        "prefix": "p",
        "backup": {"folder": "b", "recipients": ["r"]},
    }
)


def of(text: str, file: str = "conf/hub.yaml") -> Plan:
    return plan({file: text.encode()})


def names(found: Plan) -> dict[str, str]:
    return {move.key: move.name for move in found.moves}


def reasons(found: Plan) -> list[tuple[int, str]]:
    return [(one.finding.line, one.reason) for one in found.left]


@pytest.mark.parametrize(
    ("text", "value", "after"),
    [
        (f"password: {ONE}\n", ONE, 'password: "${HUB_PASSWORD}"\n'),
        (f"password: '{ONE}' # c\n", ONE, 'password: "${HUB_PASSWORD}" # c\n'),
        (f'{{"password":"{ONE}"}}\n', ONE, '{"password":"${HUB_PASSWORD}"}\n'),
        ("password: 83746529\n", "83746529", 'password: "${HUB_PASSWORD}"\n'),
        (f"- DB_PASSWORD={ONE}\n", ONE, '- "DB_PASSWORD=${DB_PASSWORD}"\n'),
        (f"- DB_PASSWORD=${{DB_PASSWORD:-{ONE}}}\n", ONE, '- "DB_PASSWORD=${DB_PASSWORD}"\n'),
        (f"- POSTGRES_PASSWORD=${{PG_PASSWORD:-{ONE}}}\n", ONE, '- "POSTGRES_PASSWORD=${PG_PASSWORD}"\n'),
        (
            f"- DATABASE_URL=postgresql://u:{ONE}@db/x\n",
            f"postgresql://u:{ONE}@db/x",
            '- "DATABASE_URL=${DATABASE_URL}"\n',
        ),
        (f"url: redis://:{ONE}@cache:6379/0\n", f"redis://:{ONE}@cache:6379/0", 'url: "${HUB_URL}"\n'),
        (f"token: ${{HUB_TOKEN:-{ONE}}}\n", ONE, 'token: "${HUB_TOKEN}"\n'),
        (
            f"headers: {{Authorization: Bearer {ONE}{TWO}}}\n",
            f"Bearer {ONE}{TWO}",
            'headers: {Authorization: "${HEADERS_AUTHORIZATION}"}\n',
        ),
        (f"env:\n- name: JWT_SECRET\n  value: {ONE}\n", ONE, 'env:\n- name: JWT_SECRET\n  value: "${JWT_SECRET}"\n'),
        (f"password: |\n  {ONE}\nb: 1\n", f"{ONE}\n", 'password: "${HUB_PASSWORD}"\nb: 1\n'),
    ],
)
def test_moved(text: str, value: str, after: str) -> None:
    found = of(text)
    assert [one.text() for one in found.values.values()] == [value], reasons(found)
    edits = {move.path: move.replacement for move in found.moves}
    assert replaced(text.encode(), "x", edits).decode() == after
    assert of(after).moves == () and reasons(of(after)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"a: 1\n# password: {ONE}\n", migration_plan.COMMENT),
        (f"command: run --password {ONE} --fast\n", migration_plan.COMMAND),
        (f"note: {TOKEN} opens it\n", migration_plan.LONGER),
        ("password: 0123456\n", migration_plan.NOT_TEXT),
        (f"token: ${{hub_token:-{ONE}}}\n", migration_plan.LOWER),
        (f"- password: &p {ONE}\n- password: *p\n", placeholders.ANCHOR),
        (f"x: &x\n  password: {ONE}\ny: *x\n", placeholders.ANCHORED),
        (f"password: !!str {ONE}\n", placeholders.TAG),
        (f"password: {ONE}\npassword: {ONE}\n", placeholders.TWICE),
        (f"password: {ONE}\nb: [\n", "the file is not YAML (line 3)"),
        (f"password: {ONE}\n{{% if x %}}\nb: 1\n{{% endif %}}\n", "the file is not YAML (line 2)"),
        (f"{TOKEN}:\n  password: {ONE}\n", migration_plan.KEY_IS_ONE),
    ],
)
def test_left(text: str, reason: str) -> None:
    found = of(text)
    assert found.moves == ()
    assert reason in [why for _line, why in reasons(found)]
    assert ONE not in repr(found)


def test_a_key_that_repeats_a_credential_is_not_shown() -> None:
    found = of(f"password: {ONE}\nusers: [{{name: {ONE}, token: {THREE}}}]\nlist: {{{ONE}: {{token: {TWO}}}}}\n")
    assert names(found) == {"password": "HUB_PASSWORD", "users.0.token": "USERS_TOKEN"}
    assert reasons(found) == [(3, migration_plan.KEY_IS_ONE)]


def test_defaults_that_differ_are_left_and_equal_ones_are_one() -> None:
    text = f"a: {{token: '${{HUB_TOKEN:-{ONE}}}'}}\nb: {{token: '${{HUB_TOKEN:-%s}}'}}\n"
    assert names(of(text % ONE)) == {"a.token": "HUB_TOKEN", "b.token": "HUB_TOKEN"}
    assert [why for _line, why in reasons(of(text % TWO))] == [migration_plan.DIFFERENT] * 2


def test_names_of_a_fleet() -> None:
    found = of(
        f"""
agent_groups:
  core:
    SystemDigitalTwin: {{config: {{redis: {{password: {ONE}}}}}}}
    HTTPGateway2: {{environment: {{HUB_TOKEN: {TWO}}}, config: {{apiKey: {THREE}}}}}
pc2_services:
  - name: TranslatorAgent
    config: {{password: {THREE}}}
"""
    )
    assert names(found) == {
        "agent_groups.core.SystemDigitalTwin.config.redis.password": "SYSTEM_DIGITAL_TWIN_REDIS_PASSWORD",
        "agent_groups.core.HTTPGateway2.environment.HUB_TOKEN": "HUB_TOKEN",
        "agent_groups.core.HTTPGateway2.config.apiKey": "HTTP_GATEWAY2_API_KEY",
        "pc2_services.0.config.password": "PC2_SERVICES_TRANSLATOR_AGENT_PASSWORD",
    }


def test_the_same_name_for_other_values_grows_until_it_is_one() -> None:
    text = f"services: {{a: {{environment: {{DB_PASSWORD: {ONE}}}}}, b: {{environment: {{DB_PASSWORD: {TWO}}}}}, c: {{environment: {{DB_PASSWORD: {ONE}}}}}}}\n"
    assert sorted(names(of(text)).values()) == ["A_DB_PASSWORD", "B_DB_PASSWORD", "C_DB_PASSWORD"]
    same = f"- password: {ONE}\n- password: {TWO}\n- password: {ONE}\n"
    assert list(names(of(same)).values()) == ["HUB_PASSWORD", "HUB_PASSWORD_2", "HUB_PASSWORD"]
    used = f"password: {ONE}\nother: ${{HUB_PASSWORD}}\n"
    assert list(names(of(used)).values()) == ["HUB_PASSWORD_2"]


PART = st.text(st.sampled_from("abAB09_.- é😀"), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    places=st.lists(
        st.tuples(
            PART,
            st.lists(PART, min_size=1, max_size=5),
            st.sampled_from(["", "HUB_TOKEN", "A"]),
            st.booleans(),
            st.sampled_from("xyz"),
        ),
        max_size=12,
    ),
    taken=st.frozensets(st.sampled_from(["HUB_TOKEN", "A", "SECRET", "A_A", "AB"])),
)
def test_names_are_valid_unique_and_the_same_again(places: list[Any], taken: frozenset[str]) -> None:
    wishes = {
        number: Wish(file, tuple(labels), variable, must and bool(variable))
        for number, (file, labels, variable, must, _value) in enumerate(places)
    }
    same = {number: place[4] for number, place in enumerate(places)}
    given_names = named(wishes, same, taken)
    assert given_names == named(wishes, same, taken)
    by_name: dict[str, set[str]] = {}
    for number, name in given_names.items():
        assert re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name)
        assert wishes[number].must or name not in taken
        assert not wishes[number].must or name == wishes[number].variable
        by_name.setdefault(name, set()).add(same[number])
    assert all(len(values) == 1 for values in by_name.values())
    assert all(wishes[number].must for number in set(wishes) - set(given_names))


HOSTILE = st.lists(
    st.sampled_from(
        [
            f"password: {ONE}",
            f'  api_key: "{TWO}"',
            f"- DB_PASSWORD={THREE}",
            f"token: &a {ONE}",
            "other: *a",
            "<<: *a",
            f"# password: {TWO}",
            f"secret: !vault {ONE}",
            f"{TOKEN}: {{password: {TWO}, token: '{THREE}'}}",
            f"  ? token\n  : {ONE}",
            f"password: >-\n  {ONE}",
            f"url: redis://:{TWO}@h/0",
            f"token: ${{A_TOKEN:-{THREE}}}",
            "---",
            "...",
            "{",
            "]",
            "\t",
            "a:",
            "  b: [",
            'password: "\\ud800x83jdk2ld"',
            'password: "\\x00x83jdk2ld9"',
            "%YAML 9.9",
            f"--password {ONE}",
            "\ufeffa: 1",
        ]
    ),
    max_size=9,
)


@settings(max_examples=300, deadline=None)
@given(lines=HOSTILE, line_end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_hostile_yaml_is_moved_provably_or_left_with_a_reason(lines: list[str], line_end: str) -> None:
    content = line_end.join(lines).encode()
    found = plan({"a/hub.yaml": content})
    told = (
        json.dumps(plan_document(found, (), SETTINGS, None))
        + "\n".join(plan_text(found, (), SETTINGS, None))
        + repr(found)
    )
    assert not any(value in told for value in (ONE, TWO, THREE, TOKEN))
    if found.moves:
        after = replaced(content, "x", {move.path: move.replacement for move in found.moves})
        again = plan({"a/hub.yaml": after})
        assert again.moves == ()
        assert len(again.left) <= len(found.left)


def test_a_tree(tmp_path: Path) -> None:
    for name, content in {
        "a.yaml": f"password: {ONE}\n".encode(),
        "b.yml.bak": f"password: {TWO}\n".encode(),
        "c.yml.j2": f"password: {ONE}\n".encode(),
        "d.yml": f"password: {ONE}\n".encode("utf-16"),
        "e.yml": b"x: \xff\npassword: " + ONE.encode() + b"\n",
        "f.json": f'{{"password": "{ONE}"}}'.encode(),
        "g.sh": f"export DB_PASSWORD={ONE}\n".encode(),
        "tests/h.yml": f"password: {ONE}\n".encode(),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found, unread = plan_of(str(tmp_path), ScanBaseline(), date(2030, 1, 1))
    assert unread == ()
    assert [(move.file, move.name) for move in found.moves] == [("a.yaml", "A_PASSWORD"), ("b.yml.bak", "B_PASSWORD")]
    elsewhere, unreadable = migration_plan.ELSEWHERE, migration_plan.UNREADABLE
    assert [(one.finding.file, one.reason) for one in found.left] == [
        ("c.yml.j2", elsewhere),
        ("d.yml", unreadable),
        ("e.yml", unreadable),
        ("f.json", elsewhere),
        ("g.sh", elsewhere),
    ]


@pytest.mark.parametrize("host", ["mainpc", "pc2"])
def test_credentials_put_into_a_startup_config_move_and_nothing_else(host: str) -> None:
    """The fleet's own configs hold none; each of their agents is given one, in four styles."""
    original = (FLEET / host / "startup_config.yaml").read_text()
    styles = ["{}", "'{}'", '"{}"', "|\n{indent}  {}"]
    lines: list[str] = []
    wanted: list[str] = []
    for line in original.split("\n"):
        lines.append(line)
        match = re.match(r"(\s+)(?:- )?script_path:", line)
        if match:
            indent = " " * (len(match.group()) - len("script_path:"))
            value = f"Zq{len(wanted):03d}kdLw93mX"
            flow = line.endswith(",")
            style = styles[len(wanted) % (3 if flow else 4)]
            lines.append(f"{indent}hub_token: " + style.format(value, indent=indent) + ("," if flow else ""))
            wanted.append(value)
    text = "\n".join(lines)
    found = of(text)
    assert len(wanted) > 15 and sorted(one.text().strip() for one in found.values.values()) == wanted
    after = replaced(text.encode(), "x", {move.path: move.replacement for move in found.moves}).decode()
    removed = re.sub(r'\n *hub_token: "\$\{[A-Z0-9_]+\}",?', "", after)
    assert removed == original
    assert yaml.safe_load(removed) == yaml.safe_load(original)


def test_the_page_has_every_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "secret-migration.md").read_text()
    texts = [
        value
        for module in (migration_plan, placeholders)
        for name, value in vars(module).items()
        if re.fullmatch("[A-Z][A-Z_]+", name) and isinstance(value, str) and " " in value
    ]
    assert len(texts) == 20
    assert [text for text in texts if text not in page] == []
