# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging, verifying, pointing and pruning releases; archives that must be refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import Probe, Unit
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.model import Release, ReleasedAgent
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_archive import pack
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_document import (
    ReleaseError,
    document_digest,
    to_document,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.releases import Releases, file_digest

CONTENTS = {
    "code/agents/a.py": b"print('a')\n",
    "code/run.sh": b"#!/bin/sh\n",
    "config/startup_config.yaml": b"agent_groups: {}\n",
    "units/A": b"#!/bin/sh\n",
}


def described(release_id="r-1", contents=None, agents=("A",)):
    contents = CONTENTS if contents is None else contents
    released = {
        name: ReleasedAgent(
            name, "agents/a.py", "f" * 64, Unit(name, f"state/{name}", f"logs/{name}.log"), Probe(name, "tcp")
        )
        for name in agents
    }
    files = {
        path: {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "mode": 0o755 if path.startswith("units/") else 0o644,
        }
        for path, content in contents.items()
    }
    return sealed(to_document(Release(release_id, "MainPC", "", released, files)))


def sealed(document):
    return {**document, "digest": document_digest(document)}


@pytest.fixture
def releases(tmp_path):
    return Releases(str(tmp_path / "root"))


@pytest.fixture
def stage(releases, tmp_path):
    def stage_one(document=None, contents=None, **options):
        document = document or described()
        archive = tmp_path / "archive.tar.gz"
        archive.write_bytes(pack(document, CONTENTS if contents is None else contents))
        return releases.stage(str(archive), document["digest"], **options)

    return stage_one


def everything_below(folder):
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, folders, files in os.walk(folder)
        for name in files + folders
        if name != ".lock"
    )


def test_the_archive_is_the_same_bytes_each_time():
    document = described()
    assert pack(document, CONTENTS) == pack(document, dict(reversed(CONTENTS.items())))


def test_a_staged_release_is_complete(stage, releases, tmp_path):
    release = stage()
    assert releases.staged() == ["r-1"]
    assert releases.verify("r-1") == []
    assert releases.load("r-1") == release
    assert (tmp_path / "root/releases/r-1/code/agents/a.py").read_bytes() == CONTENTS["code/agents/a.py"]
    assert os.stat(tmp_path / "root/releases/r-1/units/A").st_mode & 0o777 == 0o755
    assert os.stat(tmp_path / "root/releases/r-1").st_mode & 0o777 == 0o755
    assert release.agents["A"].unit.directory == str(tmp_path / "root/state/A")


def test_staging_again_changes_nothing(stage, tmp_path):
    stage()
    before = os.stat(tmp_path / "root/releases/r-1").st_ino
    stage()
    assert os.stat(tmp_path / "root/releases/r-1").st_ino == before


def test_another_release_of_the_same_id_is_refused(stage, releases):
    stage()
    other = {**CONTENTS, "units/A": b"#!/bin/sh\nexit 1\n"}
    with pytest.raises(ReleaseError, match="release ids are immutable"):
        stage(described(contents=other), other)
    assert releases.verify("r-1") == []


def test_a_damaged_archive_is_refused_by_its_digest(stage, releases):
    with pytest.raises(ReleaseError, match="damaged on its way"):
        stage(archive_digest="0" * 64)
    assert releases.staged() == []


def test_a_different_release_than_expected_is_refused(releases, tmp_path):
    archive = tmp_path / "archive"
    archive.write_bytes(pack(described(), CONTENTS))
    with pytest.raises(ReleaseError, match="the archive holds another release, r-1"):
        releases.stage(str(archive), "0" * 64)
    releases.stage(str(archive), described()["digest"], archive_digest=file_digest(str(archive)))


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9, -1])
def test_a_cut_archive_stages_nothing(releases, tmp_path, keep):
    whole = pack(described(), {**CONTENTS, "code/agents/a.py": CONTENTS["code/agents/a.py"]})
    end = keep if isinstance(keep, int) else int(len(whole) * keep)
    archive = tmp_path / "archive"
    archive.write_bytes(whole[:end])
    if keep == -1:  # all files are there; only the end of the archive is cut
        archive.write_bytes(gzip.compress(gzip.decompress(whole)[:3000]))
    with pytest.raises(ReleaseError):
        releases.stage(str(archive), described()["digest"])
    assert everything_below(tmp_path / "root/releases") == []


HOSTILE_NAMES = [
    "/etc/passwd",
    "code/../../escape",
    "../escape",
    "code//x",
    "code/./x",
    "code",
    "other/x",
    "release.json",
    "code/x\0y",
    "",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_in_the_description_are_refused(stage, tmp_path, name):
    with pytest.raises(ReleaseError, match="not a path inside a release"):
        stage(described(contents={name: b"x"}), {name: b"x"} if "\0" not in name and name else {})
    assert everything_below(tmp_path / "root") == ["releases"]


@pytest.mark.parametrize("agent", ["../x", "a/b", ".hidden", "", "-option", "a b", "x" * 200])
def test_hostile_agent_names_are_refused(stage, releases, agent):
    with pytest.raises(ReleaseError, match="cannot be the name"):
        stage(described(agents=(agent,)))
    with pytest.raises(ReleaseError, match="cannot be the name"):
        releases.pointed(agent, "blue")


@pytest.mark.parametrize("release_id", ["../x", ".staging-1", "", "a/b", "x" * 65])
def test_hostile_ids_are_refused(stage, releases, release_id):
    with pytest.raises(ReleaseError, match="not the id of a release"):
        stage(described(release_id))
    with pytest.raises(ReleaseError, match="not the id of a release"):
        releases.load(release_id)


def hand_made(document, members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        description = json.dumps(document).encode()
        for name, kind, content, link in [("release.json", tarfile.REGTYPE, description, ""), *members]:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), link
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


FILE = ("code/x", tarfile.REGTYPE, b"x", "")
HOSTILE_MEMBERS = {
    "a file that is not described": [FILE, ("code/y", tarfile.REGTYPE, b"y", "")],
    "an absolute name": [("/tmp/escape", tarfile.REGTYPE, b"x", "")],
    "a name that climbs": [("../escape", tarfile.REGTYPE, b"x", "")],
    "a symbolic link out": [("code/x", tarfile.SYMTYPE, b"", "/etc/passwd")],
    "a hard link out": [("code/x", tarfile.LNKTYPE, b"", "../../../etc/passwd")],
    "a folder in its place": [("code/x", tarfile.DIRTYPE, b"", "")],
    "a device": [("code/x", tarfile.CHRTYPE, b"", "")],
    "a pipe": [("code/x", tarfile.FIFOTYPE, b"", "")],
    "another size": [("code/x", tarfile.REGTYPE, b"xx", "")],
    "another content": [("code/x", tarfile.REGTYPE, b"y", "")],
    "the same file twice": [FILE, FILE],
    "nothing": [],
    "the description again": [FILE, ("release.json", tarfile.REGTYPE, b"{}", "")],
}


@pytest.mark.parametrize("members", HOSTILE_MEMBERS.values(), ids=HOSTILE_MEMBERS)
def test_hostile_members_are_refused(releases, tmp_path, members):
    document = described(contents={"code/x": b"x"})
    archive = tmp_path / "archive"
    archive.write_bytes(hand_made(document, members))
    with pytest.raises(ReleaseError):
        releases.stage(str(archive), document["digest"])
    assert everything_below(tmp_path / "root/releases") == []


def test_a_file_that_is_also_a_folder_is_refused(stage, tmp_path):
    contents = {"code/x": b"x", "code/x/y": b"y"}
    with pytest.raises(ReleaseError, match="a file and a folder at once"):
        stage(described(contents=contents), contents)
    assert everything_below(tmp_path / "root/releases") == []


def test_a_changed_description_is_refused(releases, tmp_path):
    document = described()
    changed = {**document, "host": "PC2"}
    archive = tmp_path / "archive"
    archive.write_bytes(pack(changed, CONTENTS))
    with pytest.raises(ReleaseError, match="does not match its digest"):
        releases.stage(str(archive), document["digest"])


@pytest.mark.parametrize("document", [{}, {"format": 2}, {"format": 1, "digest": "x"}, [1], "x"])
def test_other_descriptions_are_refused(releases, tmp_path, document):
    archive = tmp_path / "archive"
    archive.write_bytes(hand_made(document, []))
    with pytest.raises(ReleaseError):
        releases.stage(str(archive), "0" * 64)


def test_a_bomb_is_not_unpacked(releases, tmp_path):
    document = described(contents={"code/x": b"x"})
    packed = io.BytesIO()
    with gzip.open(packed, "wb") as out:
        for name, content in (("release.json", json.dumps(document).encode()), ("code/x", bytes(50 << 20))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.write(member.tobuf() + content + b"\0" * (-len(content) % 512))
    archive = tmp_path / "archive"
    archive.write_bytes(packed.getvalue())
    with pytest.raises(ReleaseError, match="not a file that the release describes"):
        releases.stage(str(archive), document["digest"])
    assert everything_below(tmp_path / "root/releases") == []


def test_a_release_larger_than_the_disk_is_refused_before_writing(releases, tmp_path):
    document = described(contents={"code/x": b"x"})
    document["files"]["code/x"]["size"] = 1 << 60
    document = sealed(document)
    archive = tmp_path / "archive"
    archive.write_bytes(hand_made(document, [FILE]))
    with pytest.raises(ReleaseError, match="are free"):
        releases.stage(str(archive), document["digest"])
    assert everything_below(tmp_path / "root/releases") == []


def test_verify_names_every_difference(stage, releases, tmp_path):
    stage()
    folder = tmp_path / "root/releases/r-1"
    (folder / "code/agents/a.py").write_bytes(b"print('b')\n")
    (folder / "code/added.py").write_bytes(b"")
    (folder / "units/A").unlink()
    (folder / "code/run.sh").chmod(0o777)
    (folder / "config/startup_config.yaml").unlink()
    (folder / "config/startup_config.yaml").symlink_to("/etc/passwd")
    assert releases.verify("r-1") == [
        "code/added.py: not part of the release",
        "code/agents/a.py: changed",
        "code/run.sh: mode 0777, was 0644",
        "config/startup_config.yaml: changed",
        "units/A: missing",
    ]
    (folder / "release.json").write_text("{}")
    assert "release of format None" in releases.verify("r-1")[0]
    assert "not staged here" in releases.verify("r-2")[0]


def test_pointing_leads_to_the_release(stage, releases, tmp_path):
    stage()
    stage(described("r-2"))
    assert releases.pointed("A", "blue") is None
    releases.point("A", "blue", "r-1")
    releases.point("A", "blue", "r-2")
    releases.point("A", "green", "r-1")
    assert releases.pointers() == {"A": {"blue": "r-2", "green": "r-1"}}
    assert os.path.samefile(tmp_path / "root/agents/A/blue/units/A", tmp_path / "root/releases/r-2/units/A")
    releases.remove_pointer("A", "blue")
    releases.remove_pointer("A", "blue")
    assert releases.pointers() == {"A": {"green": "r-1"}}
    assert everything_below(tmp_path / "root/agents") == ["A", "A/green"]


def test_nothing_points_at_a_release_that_is_not_there(releases):
    with pytest.raises(ReleaseError, match="not staged here"):
        releases.point("A", "blue", "r-1")
    with pytest.raises(ReleaseError, match="not staged here"):
        releases.set_current("r-1")


def test_a_slot_that_is_not_a_link_is_an_error(stage, releases, tmp_path):
    stage()
    (tmp_path / "root/agents/A/blue").mkdir(parents=True)
    with pytest.raises(ReleaseError, match="not a link to a release"):
        releases.pointed("A", "blue")


def test_prune_keeps_what_is_needed(stage, releases, tmp_path):
    for number in range(1, 8):
        stage(described(f"r-{number}"))
        os.utime(tmp_path / f"root/releases/r-{number}", ns=(number * 10**9, number * 10**9))
    releases.point("A", "blue", "r-1")
    releases.point("B", "green", "r-2")
    releases.set_current("r-3")
    assert releases.prune(1, {"r-4"}) == ["r-5", "r-6"]
    assert releases.staged() == ["r-1", "r-2", "r-3", "r-4", "r-7"]
    assert releases.prune(0, {"r-4"}) == ["r-7"]
    assert releases.prune(0, {"r-4"}) == []


def test_what_a_killed_process_left_is_swept(stage, releases, tmp_path):
    for left in (".staging-dead", ".removing-r-9"):
        (tmp_path / "root/releases" / left / "code").mkdir(parents=True)
    assert releases.staged() == []
    stage()
    assert everything_below(tmp_path / "root/releases")[0] == "r-1"
