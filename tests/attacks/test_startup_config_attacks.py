# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Startup configs that somebody damaged, or made to do damage.

Whatever the bytes are: an answer comes, in bounded time, nothing is raised, and no agent goes missing
without a critical problem.
"""

from __future__ import annotations

import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet import yaml_document
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.dependencies import resolve
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.document import to_document
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet, HostConfig
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.ports import collisions
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_host

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "fleet"
REAL = [(FIXTURES / host / "startup_config.yaml").read_bytes() for host in ("mainpc", "pc2")]
RULES = {
    *("G-parse", "G-duplicate-key", "G-schema", "G-malformed-entry", "G-lost-agents", "G-no-agents"),
    *("B-type", "B-duplicate", "C-expression"),
}


@pytest.fixture(params=["c", "pure"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "pure":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    yield request.param


def read(content: bytes, folder: Path) -> HostConfig:
    path = folder / "startup_config.yaml"
    path.write_bytes(content)
    host = load_host("mainpc", str(path))
    lines = content.count(b"\n") + 1
    for problem in host.problems:
        assert problem.rule in RULES
        assert problem.severity in ("critical", "warning", "info")
        assert 1 <= problem.location.line <= lines + 1
        assert problem.message
    if not host.agents:
        assert any(problem.severity == "critical" for problem in host.problems)
    to_document(Fleet((host,)))
    resolve(Fleet((host,)))
    collisions(host)
    return host


def flip(content: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(content)
    for place in dice.choices(range(len(damaged)), k=dice.randint(1, 3)):
        damaged[place] = dice.randrange(256)
    return bytes(damaged)


def truncate(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def by_lines(change: Callable[[list[bytes], int, int, random.Random], list[bytes]]) -> Callable[..., bytes]:
    def damage(content: bytes, dice: random.Random) -> bytes:
        lines = content.splitlines(keepends=True)
        start = dice.randrange(len(lines))
        end = min(len(lines), start + dice.choice((1, 1, 2, 6, 30)))
        return b"".join(change(lines, start, end, dice))

    return damage


def removed(lines: list[bytes], start: int, end: int, dice: random.Random) -> list[bytes]:
    return lines[:start] + lines[end:]


def doubled(lines: list[bytes], start: int, end: int, dice: random.Random) -> list[bytes]:
    return lines[:end] + lines[start:end] + lines[end:]


def indented(lines: list[bytes], start: int, end: int, dice: random.Random) -> list[bytes]:
    space = dice.choice((b" ", b"  ", b"    ", b"\t"))
    return lines[:start] + [space + line for line in lines[start:end]] + lines[end:]


def outdented(lines: list[bytes], start: int, end: int, dice: random.Random) -> list[bytes]:
    return lines[:start] + [re.sub(rb"^ {2}", b"", line) for line in lines[start:end]] + lines[end:]


def moved(lines: list[bytes], start: int, end: int, dice: random.Random) -> list[bytes]:
    rest = lines[:start] + lines[end:]
    place = dice.randrange(len(rest) + 1)
    return rest[:place] + lines[start:end] + rest[place:]


DAMAGES = [flip, truncate, *(by_lines(change) for change in (removed, doubled, indented, outdented, moved))]


def scripts(content: bytes) -> int:
    """How many agents a person would count in the file."""
    return len(re.findall(rb"^[ \t]*(?!#)(?:- )?(?:\{ ?)?script_path:", content, re.MULTILINE))


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_never_silent(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    for content in dice.choices(REAL, k=35):
        damage = dice.choice(DAMAGES)
        damaged = damage(content, dice)
        host = read(damaged, tmp_path)
        if not any(problem.severity == "critical" for problem in host.problems):
            assert len(host.agents) == scripts(damaged), f"seed {seed}: {len(host.agents)} of {scripts(damaged)} agents"


def test_the_count_that_damage_is_measured_by_is_right() -> None:
    assert [scripts(content) for content in REAL] == [54, 23]


@given(text=st.text(alphabet="agent_roups:script_path{}[]&*!|>#-?,'\"%@`~ \n\t01.<", max_size=300))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_yaml(text: str, tmp_path: Path) -> None:
    read(text.encode(), tmp_path)


@given(content=st.binary(max_size=200))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes(content: bytes, tmp_path: Path) -> None:
    read(content, tmp_path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab${}:-+. ", max_size=8) | st.sampled_from(["a.py", "7000"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "agent_groups",
                    "pc2_services",
                    "core_services",
                    "A",
                    "B",
                    "script_path",
                    "script",
                    "port",
                    "health_check_port",
                    "required",
                    "name",
                    "config",
                    "dependencies",
                    "enabled",
                    "environment",
                    "env_vars",
                    "include",
                    "overrides",
                    "machine_profiles",
                    "mainpc",
                    "agents",
                    "groups",
                    "global_settings",
                    "resource_limits",
                    "health_checks",
                    "cpu_percent",
                    "error_bus_port",
                    "redis",
                    "group_config",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(value=st.dictionaries(st.sampled_from(["agent_groups", "pc2_services", "x", "overrides", "include"]), ANYTHING))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_key_with_every_type(value: object, tmp_path: Path) -> None:
    read(yaml.safe_dump(value).encode(), tmp_path)


def bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 60)]
    return "\n".join(lines).encode()


def merge_bomb() -> bytes:
    lines = ["b0: &b0 {k: 1}"]
    lines += [f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 50)}], k{n}: 1}}" for n in range(1, 1000)]
    return "\n".join(lines).encode()


HOSTILE = {
    "brackets": b"[" * 100_000,
    "braces": b"{a: " * 100_000,
    "dashes": b"- " * 100_000,
    "questions": b"? " * 100_000,
    "staircase": b"\n".join(b" " * depth + b"a:" for depth in range(2_000)),
    "bomb": bomb(),
    "merge bomb": merge_bomb(),
    "long key": b"k" * 1_000_000 + b": 1",
    "long number": b"a: " + b"9" * 1_000_000,
    "long sexagesimal": b"a: " + b"1:" * 100_000 + b"1",
    "anchors": b"\n".join(b"a%d: &a%d 1" % (n, n) for n in range(5_000)),
    "duplicates": b"a: 1\n" * 20_000,
    "comments": b"# x\n" * 200_000,
    "blank lines": b"\n" * 1_000_000,
    "open quote": b"a: '" + b"x\n" * 100_000,
    "open block": b"a: |\n" + b" x\n" * 100_000,
    "documents": b"---\na: 1\n" * 2_000,
    "directives": b"%YAML 1.1\n" * 5_000,
    "tags": b"\n".join(b"a%d: !x%d 1" % (n, n) for n in range(1_000)),
    "nul": b"\0" * 100_000,
    "escaped nul": b'agent_groups: {g: {A: {script_path: "a\\0b", port: 7000, health_check_port: 8000}}}',
    "escaped line": b'agent_groups: {g: {A: {script_path: "a\\nExecStart=b", port: 7000, health_check_port: 8000}}}',
    "surrogate": b'agent_groups: {g: {A: {script_path: "a\\ud800.py", port: 7000, health_check_port: 8000}}}',
    "host": b'agent_groups: {g: {A: {script_path: a.py, port: 7000, health_check_port: 8000, host: "x\\ny"}}}',
    "variable": b'agent_groups: {g: {A: {script_path: a.py, port: 7000, health_check_port: 8000, env_vars: {"a;b": c}}}}',
    "name": b'agent_groups: {g: {"\\u202e\\n": {script_path: a.py}, "../../etc": {script_path: a.py}}}',
    "values": b"agent_groups: {g: {A: {script_path: a.py, port: '"
    + b"${A:-" * 20_000
    + b"', health_check_port: 8000}}}",
    "blanks": b"agent_groups: {g: {A: {script_path: a.py, port: '${A:-1}"
    + b" " * 500_000
    + b"x', health_check_port: 1}}}",
    "equals": b"agent_groups: {g: {A: {port: 7000, required: '${A:-1}"
    + b" ==" * 500_000
    + b"', health_check_port: 1}}}",
    "includes": b"include: [" + b"x.yaml, {}, " * 30_000 + b"]",
    "sum": b"agent_groups: {g: {A: {script_path: a.py, port: '${A:-1}" + b"+1" * 50_000 + b"', health_check_port: 1}}}",
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_files_cost_little(name: str, parser: str, tmp_path: Path) -> None:
    started = time.process_time()
    host = read(HOSTILE[name], tmp_path)
    took = time.process_time() - started
    assert any(problem.severity == "critical" for problem in host.problems)
    # C: a second with room for a busy machine; pure Python scans some 0.2 MB in a second
    assert took < (3 if parser == "c" else 15), f"{name}: {took:.1f} s of CPU"


def test_the_largest_file_is_read_in_bounded_time_and_memory(tmp_path: Path) -> None:
    entry = (
        "    A{0}: {{script_path: a{0}.py, port: 7000, health_check_port: 8000, required: true, dependencies: [A0]}}\n"
    )
    text = "agent_groups:\n  g:\n" + "".join(entry.format(number) for number in range(100_000))
    path = tmp_path / "startup_config.yaml"
    path.write_text(text[: yaml_document.MAX_BYTES].rpartition("\n")[0] + "\n")
    program = (
        "import sys; from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config "
        "import load_host; host = load_host('mainpc', sys.argv[1]); print(len(host.agents), len(host.problems))"
    )

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    collections = Path(__file__).resolve().parents[2] / ".cache" / "collections"
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={"PYTHONPATH": str(collections)},
        preexec_fn=bounded,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-500:]
    agents, problems = map(int, ran.stdout.split())
    assert (agents > 70_000 and problems == 0) or (agents == 0 and problems == 1)
