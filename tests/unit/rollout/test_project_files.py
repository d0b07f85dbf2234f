# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a project belong to a release."""

from __future__ import annotations

import os

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.project_files import (
    ProjectError,
    scan,
    tree_digest,
)


@pytest.fixture
def project(tmp_path):
    def write(path, content="x"):
        file = tmp_path / "project" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    write("agents/a.py")
    write("run.sh").chmod(0o755)
    write.root = tmp_path / "project"
    return write


def test_contents_and_the_executable_bit_count_and_nothing_else(project):
    before = scan(str(project.root))
    assert [(path, file.mode) for path, file in before.items()] == [("agents/a.py", 0o644), ("run.sh", 0o755)]
    os.utime(project.root / "agents/a.py", (1, 1))
    (project.root / "agents/a.py").chmod(0o600)
    assert tree_digest(scan(str(project.root))) == tree_digest(before)
    (project.root / "agents/a.py").chmod(0o700)
    assert tree_digest(scan(str(project.root))) != tree_digest(before)


def test_what_does_not_belong_into_a_release_is_left_out(project):
    for path in (
        ".git/config", "agents/__pycache__/a.cpython-311.pyc", "b.pyc", ".venv/x", "agents/venv/x", "node_modules/m/x",
        "thing.egg-info/PKG", ".env", ".env.production", "logs/a.log", "run.pid", "a.py~", ".a.py.swp", "mine/pyvenv.cfg",
        "mine/lib/x.py", "data/big.db", "data/deep/big.db", "secret.key", "skipped/x",
    ):  # fmt: skip
        project(path)
    project(".continuityignore", "# ours\n*.key\n/data/*.db\n\nskipped/\n")
    assert sorted(scan(str(project.root))) == ["agents/a.py", "run.sh"]


def test_links_inside_become_what_they_lead_to(project):
    (project.root / "alias.py").symlink_to("agents/a.py")
    (project.root / "other").symlink_to("agents")
    files = scan(str(project.root))
    assert files["alias.py"].sha256 == files["other/a.py"].sha256 == files["agents/a.py"].sha256
    assert files["alias.py"].read() == b"x"


@pytest.mark.parametrize(
    ("link", "target", "sentence"),
    [
        ("out", "/etc/hostname", "leads out of the project"),
        ("out", "../..", "leads out of the project"),
        ("agents/round", "..", "around in a circle"),
        ("agents/self", ".", "around in a circle"),
    ],
)
def test_links_that_a_release_cannot_hold_are_named(project, link, target, sentence):
    (project.root / link).symlink_to(target)
    with pytest.raises(ProjectError, match=sentence) as caught:
        scan(str(project.root))
    assert str(project.root / link) in str(caught.value)


def test_other_things_that_a_release_cannot_hold(project, tmp_path):
    (project.root / "dangling").symlink_to("nothing")
    with pytest.raises(ProjectError, match="No such file"):
        scan(str(project.root))
    (project.root / "dangling").unlink()
    os.mkfifo(project.root / "pipe")
    with pytest.raises(ProjectError, match="neither a file nor a folder"):
        scan(str(project.root))
    with pytest.raises(ProjectError, match="no folder"):
        scan(str(tmp_path / "nothing"))


def test_a_file_that_changes_while_the_release_is_built_is_noticed(project):
    files = scan(str(project.root))
    project("agents/a.py", "y")
    with pytest.raises(ProjectError, match="changed while the release was built"):
        files["agents/a.py"].read()
