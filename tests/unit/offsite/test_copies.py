# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of a repository, on every kind of endpoint."""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import (
    maintenance,
    offsite_copies,
    offsite_documents,
    snapshots,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.offsite_copies import Copy
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.destination import Destination
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.faults import (
    DamagedObjectError,
    OffsiteError,
    WrongIdentityError,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "testbed"))
from object_servers import SERVERS, Server, UnavailableError

pyrage = pytest.importorskip("pyrage", reason="the Python package pyrage is not installed")
CLOCK = SystemClock()


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as started:
            yield started
    except UnavailableError as error:
        pytest.skip(str(error))


class Keys:
    def __init__(self, folder: Path) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.public = str(identity.to_public())
        self.private = str(folder / f"identity-{self.public[-8:]}")
        Path(self.private).write_text(f"# public key: {self.public}\n{identity}\n")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


class Source:
    """A tree and the repository that it goes to."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.tree, self.repository = folder / "tree", str(folder / "repository")
        self.tree.mkdir(parents=True)
        for number in range(20):
            file = self.tree / f"agent-{number % 4}" / f"{number}.state"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(self.chance.randbytes(self.chance.randrange(5000)))
        (self.tree / "large").write_bytes(self.chance.randbytes(3_000_000))

    def snapshot(self, **wanted: object) -> str:
        taken = snapshots.take_snapshot(self.repository, snapshots.Wanted("pc2", (str(self.tree),), **wanted), CLOCK)
        assert taken.manifest is not None
        return taken.manifest.digest

    def send(self, copy: Copy, keys: Keys, **options: object) -> list[str]:
        return offsite_copies.send(self.repository, copy, [keys.public], None, CLOCK, **options)[1].sent


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "source")


@pytest.fixture
def directory(tmp_path: Path) -> Copy:
    (tmp_path / "copy").mkdir()
    return Copy(Destination(str(tmp_path / "copy")))


def same(one: Path, other: Path) -> bool:
    names = sorted(file.relative_to(one) for file in one.rglob("*"))
    return names == sorted(file.relative_to(other) for file in other.rglob("*")) and all(
        (one / name).is_dir() or filecmp.cmp(one / name, other / name, shallow=False) for name in names
    )


def objects(copy: Copy) -> set[str]:
    return {file.relative_to(copy.destination.url).as_posix() for file in Path(copy.destination.url).rglob("*.age")}


def test_a_copy_from_the_first_snapshot_to_the_last_restore(
    server: Server, source: Source, keys: Keys, tmp_path: Path
) -> None:
    copy = Copy(Destination(server.url, **server.options))
    first = source.snapshot(restore_point="rp-1")
    sent = source.send(copy, keys)
    assert [name.split("/")[0] for name in sent] == ["packs", "index", "manifests", "catalogues"]
    assert source.send(copy, keys) == []
    (source.tree / "agent-0" / "new").write_bytes(source.chance.randbytes(1000))
    second = source.snapshot(restore_point="rp-2")
    assert len(source.send(copy, keys)) == 4

    assert offsite_copies.verify(copy, [], repository_path=source.repository).faults() == []
    for level in ("list", "data"):
        checked = offsite_copies.verify(copy, [keys.private], level=level, expected=second)
        assert (checked.faults(), checked.level, checked.objects) == ([], level, 6)
    found, damaged = offsite_copies.list_snapshots(copy, [keys.private])
    assert [one["digest"] for one in found] == [first, second] and damaged == []

    target = tmp_path / "target"
    agent = str(source.tree / "agent-0")
    _manifest, restored = offsite_copies.restore(copy, "rp-1", [keys.private], target=str(target), include=[agent])
    assert restored.failed == {} and not Path(f"{target}{source.tree}/large").exists()
    assert not Path(f"{target}{agent}/new").exists()
    offsite_copies.restore(copy, "latest", [keys.private], target=str(target))
    assert same(source.tree, Path(f"{target}{source.tree}"))


def test_what_was_forgotten_is_withdrawn_and_only_on_request(source: Source, keys: Keys, directory: Copy) -> None:
    source.snapshot()
    source.send(directory, keys)
    (source.tree / "large").write_bytes(source.chance.randbytes(3_000_000))
    kept = source.snapshot()
    source.send(directory, keys)
    before = objects(directory)
    maintenance.forget(
        source.repository, maintenance.Dropping(maintenance.retention_from({"keep_last": 1})), CLOCK, prune=True
    )
    source.send(directory, keys)
    assert objects(directory) >= before
    plan, _sent = offsite_copies.send(
        source.repository, directory, [keys.public], None, CLOCK, follow_forget=True, check=True
    )
    assert plan.withdraw and objects(directory) >= before
    _plan, sent = offsite_copies.send(source.repository, directory, [keys.public], None, CLOCK, follow_forget=True)
    assert set(sent.withdrawn) == set(plan.withdraw)
    left = objects(directory)
    assert not left & set(plan.withdraw) and before - left
    assert sum(name.startswith("catalogues/") for name in left) == 1
    checked = offsite_copies.verify(directory, [keys.private], level="data", expected=kept)
    assert checked.faults() == []
    plan, _sent = offsite_copies.send(source.repository, directory, [keys.public], None, CLOCK, follow_forget=True)
    assert not plan.changed


@pytest.mark.parametrize("said_by", ["call", "repository"])
def test_append_only_withdraws_nothing(source: Source, keys: Keys, directory: Copy, said_by: str) -> None:
    source.snapshot()
    source.send(directory, keys)
    source.snapshot()
    maintenance.forget(source.repository, maintenance.Dropping(maintenance.retention_from({"keep_last": 1})), CLOCK)
    if said_by == "repository":
        Repository.open(source.repository).set_append_only(True)
    before = objects(directory)
    options = {"follow_forget": True, "append_only": said_by == "call"}
    _plan, sent = offsite_copies.send(source.repository, directory, [keys.public], None, CLOCK, **options)
    assert sent.withdrawn == [] and objects(directory) > before


def test_another_repository_is_refused(source: Source, keys: Keys, directory: Copy, tmp_path: Path) -> None:
    source.snapshot()
    source.send(directory, keys)
    other = Source(tmp_path / "other", 2)
    other.snapshot()
    with pytest.raises(OffsiteError, match="copy of another repository"):
        other.send(directory, keys)


def test_a_wrong_identity_is_said_to_be_that(source: Source, keys: Keys, directory: Copy, tmp_path: Path) -> None:
    source.snapshot()
    source.send(directory, keys)
    wrong = Keys(tmp_path)
    for work in (
        lambda: offsite_copies.verify(directory, [wrong.private], level="data"),
        lambda: offsite_copies.restore(directory, "latest", [wrong.private], target=str(tmp_path / "target")),
        lambda: offsite_copies.list_snapshots(directory, [wrong.private]),
    ):
        with pytest.raises(WrongIdentityError, match="None of the given identities opens"):
            work()
    both = [wrong.private, keys.private]
    assert offsite_copies.verify(directory, both, level="data").faults() == []


def test_several_recipients_can_each_restore(source: Source, keys: Keys, directory: Copy, tmp_path: Path) -> None:
    source.snapshot()
    other = Keys(tmp_path)
    recipients = tmp_path / "recipients"
    recipients.write_text(f"# the safe\n{other.public}\n\n")
    offsite_copies.send(source.repository, directory, [keys.public], str(recipients), CLOCK)
    for one in (keys, other):
        assert offsite_copies.verify(directory, [one.private], level="data").faults() == []


def test_the_copy_of_an_encrypted_repository_needs_both_keys(
    source: Source, keys: Keys, directory: Copy, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="the Python package cryptography is not installed")
    inner = Keys(tmp_path)
    Repository.init(source.repository, CLOCK.now(), recipients=[inner.public])
    wanted = snapshots.Wanted("pc2", (str(source.tree),))
    snapshots.take_snapshot(source.repository, wanted, CLOCK, identity_files=[inner.private])
    source.send(directory, keys)
    assert offsite_copies.verify(directory, [], repository_path=source.repository).faults() == []
    assert offsite_copies.verify(directory, [keys.private], level="data").faults() == []
    target = tmp_path / "target"
    with pytest.raises(ContinuityError, match="None of the given identities opens this repository"):
        offsite_copies.restore(directory, "latest", [keys.private], target=str(target))
    offsite_copies.restore(directory, "latest", [keys.private, inner.private], target=str(target))
    assert same(source.tree, Path(f"{target}{source.tree}"))


def test_every_damage_of_an_object_is_named(source: Source, keys: Keys, directory: Copy) -> None:
    source.snapshot()
    source.send(directory, keys)
    for name in sorted(objects(directory)):
        file = Path(directory.destination.url, name)
        whole = file.read_bytes()
        for damaged in (whole[:-1], whole + b"x", b"", whole[: len(whole) // 2]):
            file.write_bytes(damaged)
            if not name.startswith("catalogues/"):
                assert name in offsite_copies.verify(directory, [], repository_path=source.repository).damaged
            else:
                with pytest.raises(DamagedObjectError):
                    offsite_copies.verify(directory, [keys.private])
        flipped = bytearray(whole)
        flipped[-20] ^= 4
        file.write_bytes(flipped)
        if name.startswith("catalogues/"):
            with pytest.raises(DamagedObjectError):
                offsite_copies.verify(directory, [keys.private], level="data")
        else:
            assert name in offsite_copies.verify(directory, [keys.private], level="data").damaged
        file.unlink()
        if not name.startswith("catalogues/"):
            assert offsite_copies.verify(directory, [keys.private]).missing == [name]
            assert source.send(directory, keys) == [name]
        else:
            assert len(source.send(directory, keys)) == 1
    assert offsite_copies.verify(directory, [keys.private], level="data").faults() == []


@pytest.mark.parametrize(
    "spoil", [lambda whole: b"", lambda whole: whole[:-30] + bytes(30), lambda whole: b"age" + whole]
)
def test_instead_of_a_damaged_catalogue_the_one_before_is_used_and_it_is_named(
    source: Source, keys: Keys, directory: Copy, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    digest = source.snapshot()
    source.send(directory, keys)
    (source.tree / "large").write_bytes(b"later")
    source.snapshot()
    source.send(directory, keys)
    newest = sorted(name for name in objects(directory) if name.startswith("catalogues/"))[-1]
    file = Path(directory.destination.url, newest)
    file.write_bytes(spoil(file.read_bytes()))
    for level in ("list", "data"):
        assert list(offsite_copies.verify(directory, [keys.private], level=level).damaged) == [newest]
    manifest, restored = offsite_copies.restore(directory, "latest", [keys.private], target=str(tmp_path / "target"))
    assert manifest.digest == digest and list(restored.failed) == [newest]
    assert "an older catalogue is used" in restored.failed[newest]
    assert Path(f"{tmp_path}/target{source.tree}/large").stat().st_size == 3_000_000


def test_what_is_wrong_is_said_of_the_copy_and_not_of_where_it_was_fetched_to(
    source: Source, keys: Keys, directory: Copy, tmp_path: Path
) -> None:
    digest = source.snapshot()
    source.send(directory, keys)
    (pack,) = (name for name in objects(directory) if name.startswith("packs/"))
    for spoiled, words in ((False, f"There are 1, last of all {digest[:12]} of pc2"), (True, pack)):
        if spoiled:
            Path(directory.destination.url, pack).write_bytes(b"")
        with pytest.raises(ContinuityError) as caught:
            offsite_copies.restore(
                directory, "latest" if spoiled else "nobody", [keys.private], target=str(tmp_path / "target")
            )
        assert str(caught.value).startswith(directory.destination.url) and words in str(caught.value)
        assert "/continuity-" not in str(caught.value)


def test_a_damaged_document_costs_no_other(keys: Keys, directory: Copy, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name in ("a.md", "b.md", "c.md"):
        (folder / name).write_text(f"content of {name}")
    offsite_documents.send(directory, "pc2", [str(folder)], [keys.public], None)
    first, second, _third = sorted(name for name in objects(directory) if "/technical/" in name)
    Path(directory.destination.url, first).unlink()
    Path(directory.destination.url, second).write_bytes(b"")
    restored, failed = offsite_documents.restore(directory, "pc2", [keys.private], str(tmp_path / "target"))
    assert len(restored) == 1 and len(failed) == 2
    with pytest.raises(OffsiteError, match="No document of pc2 matches"):
        offsite_documents.restore(directory, "pc2", [keys.private], str(tmp_path / "target"), include=["/nonexistent"])
    assert len(list(Path(f"{tmp_path}/target{folder}").iterdir())) == 1


def test_a_damaged_repository_is_not_sent(source: Source, keys: Keys, directory: Copy) -> None:
    source.snapshot()
    (pack,) = Path(source.repository, "packs").glob("*/*")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(bytes(content))
    with pytest.raises(OffsiteError, match="is damaged") as refused:
        source.send(directory, keys)
    assert str(pack) in str(refused.value)
    assert not any(name.startswith(("packs/", "manifests/", "catalogues/")) for name in objects(directory))


def test_a_copy_that_lags_behind_is_noticed(source: Source, keys: Keys, directory: Copy) -> None:
    first = source.snapshot()
    source.send(directory, keys)
    second = source.snapshot()
    lagging = offsite_copies.verify(directory, [], repository_path=source.repository)
    assert f"manifests/pc2/00000002-{second}.json.age" in lagging.missing and "send again" in lagging.chain[0]
    assert offsite_copies.verify(directory, [keys.private], expected=first).faults() == []
    assert offsite_copies.verify(directory, [keys.private], expected=second).chain == [
        f"the snapshot {second[:12]} is not in the copy"
    ]


def test_a_scratch_folder_is_used_again_and_follows_the_copy(
    source: Source, keys: Keys, directory: Copy, tmp_path: Path
) -> None:
    scratch, target = str(tmp_path / "scratch"), str(tmp_path / "target")
    source.snapshot()
    source.send(directory, keys)
    offsite_copies.restore(directory, "latest", [keys.private], target=target, scratch=scratch)
    fetched = sorted(Path(scratch, "packs").glob("*/*"))
    (source.tree / "agent-0" / "new").write_bytes(b"new")
    source.snapshot()
    maintenance.forget(source.repository, maintenance.Dropping(maintenance.retention_from({"keep_last": 1})), CLOCK)
    source.send(directory, keys, follow_forget=True)
    shutil.rmtree(target)
    before = {file: file.stat().st_mtime_ns for file in fetched}
    offsite_copies.restore(directory, "latest", [keys.private], target=target, scratch=scratch)
    assert same(source.tree, Path(f"{target}{source.tree}"))
    assert {file: file.stat().st_mtime_ns for file in fetched} == before
    assert len(list(Path(scratch, "manifests", "pc2").glob("*.json"))) == 1
    with pytest.raises(ContinuityError, match="holds something else"):
        offsite_copies.restore(directory, "latest", [keys.private], target=target, scratch=str(source.tree))


def test_a_disk_that_is_not_mounted_is_no_empty_copy(source: Source, keys: Keys, tmp_path: Path) -> None:
    source.snapshot()
    absent = Copy(Destination(str(tmp_path / "mnt" / "copy")))
    for work in (
        lambda: source.send(absent, keys),
        lambda: source.send(absent, keys, check=True),
        lambda: offsite_copies.verify(absent, [keys.private]),
    ):
        with pytest.raises(OffsiteError, match="directory of the copy is not there"):
            work()
    assert not (tmp_path / "mnt").exists()


def test_a_directory_that_refuses_is_said(source: Source, keys: Keys) -> None:
    source.snapshot()
    with pytest.raises(OffsiteError, match="Cannot write to the directory") as refused:
        source.send(Copy(Destination("/proc")), keys)
    assert "/proc/packs" in str(refused.value)


def test_no_library_is_said_and_a_directory_needs_none_of_the_clouds(
    source: Source, keys: Keys, directory: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.snapshot()
    for module in ("obstore", "google.cloud.storage", "requests"):
        monkeypatch.setitem(sys.modules, module, None)
    assert source.send(directory, keys)
    for url, package in (("s3://b/p", "obstore"), ("gs://b/p", "google-cloud-storage"), ("az://c/p", "obstore")):
        with pytest.raises(ContinuityError, match=f"needs the Python library {package}"):
            source.send(Copy(Destination(url)), keys)
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(ContinuityError, match="needs the Python library pyrage"):
        source.send(directory, keys)


def test_the_age_command_and_standard_tools_bring_it_back(
    source: Source, keys: Keys, directory: Copy, tmp_path: Path
) -> None:
    for tool in ("age", "jq"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    source.snapshot(pin=True)
    source.send(directory, keys)
    page = (Path(__file__).resolve().parents[3] / "docs" / "off-site.md").read_text()
    script = page.partition("## By hand")[2].partition("```console\n")[2].partition("```")[0]
    lines = [line.removeprefix("$ ") for line in script.splitlines()]
    assert lines[0].startswith("aws s3 sync ")
    work = tmp_path / "by-hand"
    work.mkdir()
    shutil.copytree(directory.destination.url, work / "copy")
    shutil.copy(keys.private, work / "identity.txt")
    ran = subprocess.run(["bash", "-euc", "\n".join(lines[1:])], cwd=work, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert snapshots.verify_repository(str(work / "copy")).faults() == []
    assert snapshots.list_snapshots(str(work / "copy"))[0] == snapshots.list_snapshots(source.repository)[0]


def test_documents_are_named_by_kind_and_each_has_its_digests(keys: Keys, directory: Copy, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    (folder / "contracts").mkdir(parents=True)
    names = {
        b"offer.PDF": "legal",
        b"Contract-7.json": "legal",
        b"README.md": "technical",
        b"state.json": "technical",
        b"contracts/plan.md": "technical",
        b"od\xff\xfed.md": "technical",
        b"photo.jpg": None,
    }
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"content of " + name)
    (folder / "link.md").symlink_to("README.md")
    done = offsite_documents.send(directory, "pc2", [str(folder)], [keys.public], None)
    assert {one.path: one.kind for one in done.documents} == {
        f"{folder}/" + name.decode("latin-1").replace("\xff\xfe", "%FF%FE"): kind
        for name, kind in names.items()
        if kind
    }
    patterns = {"legal": ["*/contracts/*"], "technical": ["*.md"]}
    sorted_anew = offsite_documents.send(directory, "pc2", [str(folder)], [keys.public], None, patterns=patterns)
    assert [one.kind for one in sorted_anew.documents if "/contracts/" in one.path] == ["legal"]
    offsite_documents.restore(directory, "pc2", [keys.private], str(tmp_path / "target"))
    odd = os.fsencode(f"{tmp_path}/target{folder}/") + b"od\xff\xfed.md"
    assert Path(os.fsdecode(odd)).read_bytes() == b"content of od\xff\xfed.md"

    (folder / "README.md").unlink()
    with pytest.raises(OffsiteError, match="every one that was sent would be withdrawn"):
        offsite_documents.send(directory, "pc2", [str(folder / "photo.jpg")], [keys.public], None, follow_forget=True)
    gone = offsite_documents.send(
        directory, "pc2", [str(folder)], [keys.public], None, patterns=patterns, follow_forget=True
    )
    assert len([name for name in gone.withdrawn if "/catalogues/" not in name]) == 5
    assert offsite_documents.verify(directory, "pc2", [keys.private], level="data").faults() == []
