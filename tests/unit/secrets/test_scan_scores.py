# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scan of files finds, and what it does not: on trees of which everything is known, and form by form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CHECKOUT / "tests"))

from secret_corpus import BLOCKING, corpus, score

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scanning import (
    scan,
    scan_files,
    scan_text,
)


def classes(path: str, text: str) -> list[tuple[int, str]]:
    return [(one.line, one.class_) for one in scan_text(path, text)]


@pytest.mark.parametrize("name", ["development", "forms", "held_out"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_known_tree(tmp_path, name, seed):
    made = corpus(name, seed)
    found = scan(str(made.write(tmp_path)))
    reached = score(made, [(one.file, one.line, one.class_) for one in found.findings])
    assert reached.recall >= 0.97, reached.missed
    assert reached.precision >= 0.97, reached.wrong
    assert len(reached.other_class) <= 2, reached.other_class
    assert found.files == len(made.files) and found.unread == ()
    other = {place: class_ for place, class_ in made.truth.items() if class_ not in BLOCKING}
    seen = {(one.file, one.line): one.class_ for one in found.findings}
    assert {place: seen.get(place) for place in other} == other


def test_the_repository_itself_is_clean():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    paths = [name for name in listed.stdout.split("\0") if name and (CHECKOUT / name).is_file()]
    found, unread = scan_files(str(CHECKOUT), [name for name in paths if not (CHECKOUT / name).is_symlink()])
    assert [f"{one.file}:{one.line}: {one.class_} ({one.rule})" for one in found if one.blocking] == []
    assert unread == []


@pytest.mark.parametrize(
    "value, expected",
    [
        ("${HUB_TOKEN}", []),
        ("${H}", []),
        (f"${{{'N' * 64}}}", []),
        ("${ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6" + "}", ["live"]),
        ("${HUB_TOKEN:-falcon-0815-orbit}", ["default"]),
        ("${HUB_TOKEN:?is missing}", []),
        ("{{ hub_token }}", []),
        ("changeme", ["sample"]),
        ("<your-token>", ["sample"]),
        ("!vault |", ["encrypted"]),
        ("ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]", ["encrypted"]),
        ("null", []),
        ("/run/secrets/hub_token", []),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", []),
        ("falcon0815orbit", ["live"]),
    ],
)
def test_a_value_of_yaml(value, expected):
    assert [class_ for _line, class_ in classes("config.yaml", f"hub:\n  hub_token: {value}\n")] == expected


@pytest.mark.parametrize("path, expected", [
    ("agent.py", "live"), ("archive/agent.py.backup", "live"), ("tests/agent.py", "test"), ("test_agent.py", "test"),
    ("lib/fixtures/agent.py", "test"), ("examples/agent.py", "sample"), ("agent.py.example", "sample"),
])  # fmt: skip
def test_the_place_of_a_file_decides(path, expected):
    assert classes(path, 'PASSWORD = "falcon0815"\n') == [(1, expected)]


@pytest.mark.parametrize("path, expected", [("README.md", "live"), ("test_agent.py", "live"), ("tests/a.py", "test")])
def test_a_token_of_a_provider_is_one_wherever_it_stands(path, expected):
    token = "glpat-" + "aZ9bY8cX7dW6eV5fU4gT"
    assert classes(path, f'"{token}"\n') == [(1, expected)]


def test_an_id_outlives_moved_lines_and_changed_values():
    before = scan_text("a.py", 'TOKEN = "falcon-0815"\nPASSWORD = "orbit4711"\n')
    after = scan_text("a.py", 'import os\n\nTOKEN = "meadow-0816"\nx = 1\nPASSWORD = "tundra4712"\n')
    assert [one.id for one in before] == [one.id for one in after]
    assert len({one.id for one in before}) == 2
    assert [one.id for one in scan_text("b.py", 'TOKEN = "falcon-0815"\n')] != [before[0].id]


def test_one_credential_is_one_finding():
    text = 'requests.get(url, headers={"Authorization": "Bearer aZ9bY8cX7dW6eV5fU4"})\n'
    assert classes("a.py", text) == [(1, "live")]
    token = "hf_" + "aZbYcXdWeVfUgThSiRjQkPlOmNnMoLpKqJ"
    assert classes("a.py", f'HF_TOKEN = os.environ.get("HF_TOKEN", "{token}")\n') == [(1, "default")]


def test_two_processes_find_what_one_finds(tmp_path):
    made = corpus("development")
    for copy in range(50):
        made.write(tmp_path / f"copy{copy}")
    alone, together = scan(str(tmp_path), processes=1), scan(str(tmp_path), processes=2)
    assert alone.bytes > 1024 * 1024 and alone == together
