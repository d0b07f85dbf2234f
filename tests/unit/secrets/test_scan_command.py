# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity scan``: exit status, formats, baselines, processes; and that no value leaves it on any way."""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.process_scan import scan_processes
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_baseline import read_scan_baseline
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scanning import scan
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

CANARY = f"Qz7{secrets.token_hex(12)}"


def forms(value: str) -> list[str]:
    """The value as it could come out."""
    content = value.encode()
    shifted = [base64.b64encode(b"x" * n + content).decode()[4:-4] for n in range(3)]
    return [value, value[::-1], value.upper(), content.hex(), value[:-1], value[1:], *shifted]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The value in every kind of place, and every class."""
    root = tmp_path / "tree"
    files = {
        "agent.py": f'T = os.environ.get("HUB_TOKEN", "{CANARY}")\nurl = "redis://:{CANARY}@redis"\nif password == "{CANARY}": x\n',
        "broken.py": f'def f(:\n    password = "{CANARY}"\n',
        "compose.yml": f"environment:\n- DB_PASSWORD={CANARY}\n- X_TOKEN=${{X_TOKEN:-{CANARY}}}\n",
        "torn.json": f'{{"password": "{CANARY}", [}}\n',
        "run.sh": f"sshpass -p {CANARY} ssh x\ncurl -H 'Authorization: Bearer {CANARY}' x\n",
        "README.md": f"POSTGRES_PASSWORD={CANARY}\n",
        "tests/a.py": f'PASSWORD = "{CANARY}"\n',
        ".env.example": f"HUB_TOKEN={CANARY}\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def run(*arguments: str, capsys: Any) -> tuple[int, str, str]:
    status = main(["scan", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_no_value_in_any_format(tree, capsys, form):
    status, out, error = run("--root", str(tree), "--format", form, capsys=capsys)
    assert status == 1 and error == ""
    assert [one for one in forms(CANARY) if one in out] == []
    assert out.count("agent.py") >= 3


def test_no_value_in_what_the_engine_hands_on(tree):
    found = scan(str(tree))
    assert len(found.findings) >= 12 and {one.class_ for one in found.findings} >= {"live", "default", "sample", "test"}
    assert [one for one in forms(CANARY) if one in repr(found)] == []


@pytest.mark.parametrize(
    "content",
    [
        f"accepted: [{CANARY}",
        f"accepted: {CANARY}",
        f"{CANARY}: 1",
        f"accepted:\n- {CANARY}",
        f"accepted:\n- {{{CANARY}: x}}",
        f"accepted:\n- {{id: x, owner: o, reason: r, expires: {CANARY}}}",
        f"accepted:\n- {{rule: {CANARY}, owner: o, reason: r, expires: 2999-01-01}}",
        f"accepted:\n- {{id: {CANARY}, owner: o, reason: r}}",
        f"<<<<<<< {CANARY}\n",
        f"accepted: !{CANARY} x",
        f"accepted: *{CANARY}",
        f"{CANARY}: 1\n{CANARY}: 2",
    ],
    ids=(f"baseline{number}" for number in itertools.count()),
)
def test_no_value_in_what_is_said_of_a_baseline(tree, tmp_path, capsys, content):
    baseline = tmp_path / "accepted.yml"
    baseline.write_text(content)
    status, out, error = run("--root", str(tree), "--baseline", str(baseline), capsys=capsys)
    assert status == 2 and CANARY not in out + error and str(baseline) in error
    with pytest.raises(ContinuityError) as raised:
        read_scan_baseline(str(baseline))
    chain = [raised.value, raised.value.__cause__, raised.value.__context__]
    assert CANARY not in repr([(one, getattr(one, "__dict__", None)) for one in chain])


def test_exit_status(tmp_path, capsys):
    assert run("--root", str(tmp_path), capsys=capsys)[0] == 0
    (tmp_path / "a.env").write_text("HUB_TOKEN=changeme\n")
    assert run("--root", str(tmp_path), capsys=capsys)[0] == 0
    (tmp_path / "b.env").symlink_to("/nonexistent")
    assert run("--root", str(tmp_path), capsys=capsys)[0] == 0
    (tmp_path / "huge.log").write_bytes(b"a\n" * (17 * 1024 * 1024))
    status, out, _error = run("--root", str(tmp_path), capsys=capsys)
    assert status == 2 and "huge.log: is larger than 32 MiB" in out
    (tmp_path / "c.env").write_text("HUB_TOKEN=falcon-0815\n")
    assert run("--root", str(tmp_path), capsys=capsys)[0] == 1
    assert run(capsys=capsys)[0] == 2
    assert run("--root", str(tmp_path / "gone"), capsys=capsys)[0] == 2


def test_a_hostile_name_stays_on_its_line(tmp_path, capsys):
    (tmp_path / "a\n\x1b[2J.env").write_text("HUB_TOKEN=falcon-0815\n")
    _status, out, _error = run("--root", str(tmp_path), capsys=capsys)
    assert out.splitlines()[0].startswith("a\\n\\x1b[2J.env:1: live token (assigned-value) ")


def test_the_contract_of_json(tree, capsys):
    document = json.loads(run("--root", str(tree), "--format", "json", capsys=capsys)[1])
    assert {frozenset(one) for one in document["findings"]} == {
        frozenset({"file", "line", "kind", "class", "rule", "id"})
    }
    assert document["findings"] == sorted(document["findings"], key=lambda one: (one["file"], one["line"]))
    assert document["unread"] == [] and document["files"] == 8


def test_a_baseline_accepts_until_it_expires(tree, tmp_path, capsys):
    arguments = ("--root", str(tree), "--format", "json")
    findings = json.loads(run(*arguments, capsys=capsys)[1])["findings"]
    blocking = [one for one in findings if one["class"] in ("live", "default")]

    def applied(day: str) -> tuple[int, Any]:
        entry = "- {{id: {}, owner: fleet team, reason: moves to Vault, expires: {}}}\n"
        text = "".join(entry.format(one["id"], day) for one in blocking)
        text += f"- {{file: gone/*, owner: fleet team, reason: gone, expires: {day}}}\n"
        (tmp_path / "accepted.yml").write_text("accepted:\n" + text)
        status, out, _error = run(*arguments, "--baseline", str(tmp_path / "accepted.yml"), capsys=capsys)
        return status, json.loads(out)

    status, document = applied("2999-12-31")
    assert status == 0 and {one["class"] for one in document["findings"]} == {"sample", "test"}
    assert len(document["baseline"]["accepted"]) == len(blocking)
    assert document["baseline"]["accepted"][0]["accepted"]["owner"] == "fleet team"
    assert [one["file"] for one in document["baseline"]["unused"]] == ["gone/*"]
    status, document = applied("2020-01-01")
    assert status == 1 and len(document["baseline"]["expired"]) == len(blocking) + 1


def test_sarif(tree, tmp_path, capsys):
    baseline = tmp_path / "accepted.yml"
    baseline.write_text("accepted: [{file: agent.py, owner: o, reason: r, expires: 2999-01-01}]\n")
    out = run("--root", str(tree), "--format", "sarif", "--baseline", str(baseline), capsys=capsys)[1]
    log = json.loads(out)
    result = {"type": "object", "required": ["ruleId", "level", "message", "locations", "partialFingerprints"]}
    jsonschema.validate(log, {"properties": {"version": {"const": "2.1.0"}, "runs": {"minItems": 1, "maxItems": 1}}})
    (only,) = log["runs"]
    jsonschema.validate(only["results"], {"items": result, "minItems": 12})
    ids = {rule["id"] for rule in only["tool"]["driver"]["rules"]}
    assert {one["ruleId"] for one in only["results"]} == ids
    by_file = {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]: one for one in only["results"]}
    assert by_file["agent.py"]["suppressions"] and "suppressions" not in by_file["run.sh"]
    assert by_file["run.sh"]["level"] == "error" and by_file["README.md"]["level"] == "note"


@pytest.fixture
def shown() -> Any:
    """A process that shows the value as an argument, in an address and in its environment."""
    arguments = ["--redis-password", CANARY, f"redis://:{CANARY}@redis", f"HUB_TOKEN={CANARY}", "--token=changeme"]
    environment = {
        "PATH": os.environ["PATH"],
        "HUB_SECRET": CANARY,
        "HUB_TOKEN_FILE": "/run/secrets/hub",
        "X_TOKEN": "",
    }
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_processes(shown, tmp_path, capsys):
    key = tmp_path / "key"
    key.write_bytes(secrets.token_bytes(32))
    key.chmod(0o400)
    arguments = ("--processes", "--format", "json", "--key-file", str(key))
    documents = [run(*arguments, capsys=capsys) for _again in range(2)]
    assert [status for status, _out, _error in documents] == [1, 1]
    assert [one for one in forms(CANARY) if one in documents[0][1]] == []
    first, second = (
        [one for one in json.loads(out)["processes"] if one["pid"] == shown.pid] for _status, out, _error in documents
    )
    assert first == second and len({one["fingerprint"] for one in first}) == 1
    assert [(one["place"], one["rule"]) for one in first] == [
        ("argument 4", "command-argument"),
        ("argument 5", "address-password"),
        ("argument 6", "assigned-value"),
        ("variable HUB_SECRET", "assigned-value"),
    ]
    assert {(one["uid"], one["exe"]) for one in first} == {(os.getuid(), os.path.realpath(sys.executable))}
    other = [one for one in scan_processes().findings if one.pid == shown.pid]
    assert {one.fingerprint for one in other}.isdisjoint({one["fingerprint"] for one in first})
    assert CANARY not in run("--processes", capsys=capsys)[1]


@pytest.mark.parametrize(
    "content, mode, said",
    [(CANARY[:8], 0o400, "shorter"), (CANARY * 2, 0o644, "Others can read")],
    ids=["short", "open to others"],
)
def test_a_bad_key_is_refused_and_not_repeated(tmp_path, capsys, content, mode, said):
    key = tmp_path / "key"
    key.write_text(content)
    key.chmod(mode)
    status, out, error = run("--processes", "--key-file", str(key), capsys=capsys)
    assert status == 2 and said in error and content not in out + error


def test_a_hundred_processes_take_milliseconds(shown):
    scan_processes()
    start = time.process_time()
    found = scan_processes()
    assert (time.process_time() - start) / found.processes * 100 < 0.05
