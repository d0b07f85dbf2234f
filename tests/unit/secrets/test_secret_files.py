# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of secrets: decided, made, switched, removed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest
from memory_folder import AgeBox, memory_folder

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import CompletedRun, SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import (
    discarding,
    injection,
    memory_storage,
    secret_directory,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import SecretError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import Hidden
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.secret_directory import SecretDirectory
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.secret_files import (
    Found,
    InstalledSecret,
    SecretFile,
    plan,
)

ME = (os.geteuid(), os.getegid())
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class NoPrograms:
    def run(self, argv: Sequence[str], *, stdin: Optional[str] = None, timeout: float = 60.0) -> CompletedRun:
        raise AssertionError(f"started {argv}")


class Programs:
    def run(self, argv: Sequence[str], *, stdin: Optional[str] = None, timeout: float = 60.0) -> CompletedRun:
        ended = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
        return CompletedRun(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def memory() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


class Host:
    """A folder of secrets and its source."""

    def __init__(self, memory: Path, box: AgeBox) -> None:
        self.path, self.box = memory / "secrets", box
        self.steps: list[str] = []
        self.hidden: list[bytes] = []
        self.world = injection.World(SystemClock(), NoPrograms(), self.steps.append, self.hidden.append)

    def put(self, values: dict[str, str], *, check: bool = False, **options: Any) -> injection.Injected:
        owners = options.pop("owners", {})
        declared = [{**entry, "owner": owners.get(entry["name"])} for entry in self.box.put(values)]
        wanted = injection.Wanted(str(self.path), self.box.source, declared, **options)
        return injection.inject(wanted, self.world, check=check)

    def values(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.path.iterdir() if not path.name.startswith("..")}

    def state(self) -> dict[str, tuple[int, ...]]:
        """Every inode, with what would betray that it was touched."""
        found = {}
        for folder, _folders, names in os.walk(self.path):
            for name in (*names, *os.listdir(folder), "."):
                info = os.lstat(os.path.join(folder, name))
                path = os.path.normpath(os.path.join(folder, name))
                found[path] = (info.st_ino, info.st_mode, info.st_mtime_ns, info.st_ctime_ns, info.st_nlink)
        return found


@pytest.fixture
def host(memory: Path, tmp_path: Path) -> Host:
    return Host(memory, AgeBox(tmp_path))


def test_files_are_what_is_declared(host: Host) -> None:
    injected = host.put({"alpha": "one", "beta": "two\n"})
    assert host.values() == {"alpha": "one", "beta": "two\n"}
    assert [(change.name, change.change) for change in injected.plan.changes] == [("alpha", "added"), ("beta", "added")]
    for name in ("alpha", "beta"):
        info = (host.path / name).stat()
        assert stat.S_IMODE(info.st_mode) == 0o400 and (info.st_uid, info.st_gid) == ME
    folders = [Path(folder) for folder, _folders, _names in os.walk(host.path)]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o711, 0o711]
    assert stat.S_IMODE((host.path / "..key").stat().st_mode) == 0o400
    assert host.hidden == [b"one", b"two\n"] and host.steps[-1] == "switch"


def test_the_second_run_touches_no_inode(host: Host) -> None:
    host.put({"alpha": "one", "beta": "two"})
    before = host.state()
    injected = host.put({"alpha": "one", "beta": "two"})
    assert host.state() == before and not injected.plan.changed


def test_a_change_leaves_the_others_as_they_are(host: Host) -> None:
    host.put({"alpha": "one", "beta": "two", "gone": "three"})
    inode = (host.path / "beta").stat().st_ino
    injected = host.put({"alpha": "ONE", "beta": "two", "new": "four"})
    assert host.values() == {"alpha": "ONE", "beta": "two", "new": "four"}
    assert (host.path / "beta").stat().st_ino == inode and (host.path / "beta").stat().st_nlink == 1
    assert injected.plan.changed_names == ["alpha", "new"] and injected.plan.removed == ["gone"]
    assert len(list(host.path.glob("..set-*"))) == 1


def test_check_mode_says_what_a_run_would_do_and_does_nothing(host: Host) -> None:
    expected = host.put({"alpha": "one"}, check=True)
    assert not host.path.exists() and expected.plan.changed_names == ["alpha"]
    host.put({"alpha": "one"})
    before = host.state()
    expected = host.put({"alpha": "two", "beta": "new"}, check=True)
    assert host.state() == before
    done = host.put({"alpha": "two", "beta": "new"})
    assert expected.plan.changes[0].fingerprint == done.plan.changes[0].fingerprint
    assert [change.change for change in expected.plan.changes] == [change.change for change in done.plan.changes]


def test_a_diff_shows_fingerprints_and_no_value(host: Host) -> None:
    host.put({"alpha": "first-value"})
    before, after = host.put({"alpha": "second-value"}).plan.rendered()
    assert before.startswith("alpha: version ") and "fingerprint " in after and before != after
    assert "value" not in before + after
    repeated = host.put({"alpha": "first-value"}).plan.rendered()
    fingerprints = [text.split("fingerprint ")[1].split()[0] for text in (before, repeated[1])]
    assert fingerprints[0] == fingerprints[1], "equal values have one fingerprint on one host"


def test_nothing_is_touched_when_the_source_fails(host: Host) -> None:
    host.put({"alpha": "one"})
    before = host.state()
    host.box.put({"alpha": "two"})
    wanted = [{"name": "alpha", "path": "fleet"}, {"name": "beta", "path": "elsewhere"}]
    with pytest.raises(SecretError) as failure:
        injection.inject(injection.Wanted(str(host.path), host.box.source, wanted), host.world, check=False)
    assert failure.value.code == "missing" and host.state() == before and host.steps[-1] == "read"


def test_no_folder_is_made_for_a_source_that_fails(host: Host) -> None:
    source = {**host.box.source, "file": str(host.box.file) + ".missing"}
    declared = [{"name": "alpha", "path": "fleet"}]
    with pytest.raises(SecretError):
        injection.inject(injection.Wanted(str(host.path), source, declared), host.world, check=False)
    assert not host.path.exists()


def test_an_empty_value_is_refused(host: Host) -> None:
    host.put({"alpha": "one"})
    with pytest.raises(SecretError) as failure:
        host.put({"alpha": ""})
    assert failure.value.code == "empty" and host.values() == {"alpha": "one"}


def test_what_somebody_did_to_a_file_is_repaired(host: Host) -> None:
    host.put({"alpha": "one", "beta": "two", "gamma": "three"})
    (host.path / "alpha").resolve().chmod(0o444)
    (host.path / "..data" / "beta").unlink()
    (host.path / "gamma").unlink()
    injected = host.put({"alpha": "one", "beta": "two", "gamma": "three"})
    assert [change.change for change in injected.plan.changes] == ["repaired", "repaired", "kept"]
    assert host.values() == {"alpha": "one", "beta": "two", "gamma": "three"}
    assert stat.S_IMODE((host.path / "alpha").stat().st_mode) == 0o400
    assert not host.put({"alpha": "one", "beta": "two", "gamma": "three"}).plan.changed


def test_hostile_things_are_removed_and_never_followed(host: Host, memory: Path) -> None:
    victim = memory / "victim"
    victim.write_text("untouched")
    host.put({"alpha": "one", "beta": "two"})
    (host.path / "alpha").unlink()
    (host.path / "alpha").symlink_to(victim)
    (host.path / "beta").unlink()
    os.link(victim, host.path / "beta")
    (host.path / "link").symlink_to("/etc/passwd")
    os.link(victim, host.path / "hard")
    os.mkfifo(host.path / "pipe")
    (host.path / "..set-0123456789ab").symlink_to(memory)
    (host.path / "..new-planted").write_text("x")
    injected = host.put({"alpha": "one", "beta": "two"})
    assert injected.plan.removed == ["hard", "link", "pipe"]
    assert host.values() == {"alpha": "one", "beta": "two"}
    assert victim.read_text() == "untouched" and victim.stat().st_nlink == 1
    assert sorted(path.name for path in memory.iterdir()) == ["secrets", "victim"]
    assert not host.put({"alpha": "one", "beta": "two"}).plan.changed


@pytest.mark.parametrize("planted", ["symlink", "pipe", "folder"])
def test_what_stands_inside_of_a_set_is_not_followed(host: Host, memory: Path, planted: str) -> None:
    victim = memory / "victim"
    victim.write_text("untouched")
    host.put({"alpha": "one"})
    inside = host.path / "..data" / "alpha"
    inside.unlink()
    if planted == "symlink":
        inside.symlink_to(victim)
    elif planted == "pipe":
        os.mkfifo(inside)
    else:
        inside.mkdir()
    if planted == "folder":
        with pytest.raises(SecretError, match="directory"):
            host.put({"alpha": "one"})
        assert (host.path / "alpha").read_text() == "one", "the new set stands"
    else:
        assert host.put({"alpha": "one"}).plan.changed_names == ["alpha"]
        assert victim.read_text() == "untouched" and host.values() == {"alpha": "one"}


def test_a_folder_that_is_not_ours_is_refused(host: Host) -> None:
    host.path.mkdir()
    (host.path / "precious").write_text("x")
    with pytest.raises(SecretError) as failure:
        host.put({"alpha": "one"})
    assert failure.value.code == "foreign_content" and sorted(os.listdir(host.path)) == ["precious"]
    with pytest.raises(SecretError):
        injection.remove(str(host.path), host.world, check=False)


def test_files_of_the_declared_names_are_taken_over(host: Host) -> None:
    host.path.mkdir()
    (host.path / "alpha").write_text("by hand")
    host.put({"alpha": "one"})
    assert host.values() == {"alpha": "one"} and (host.path / "alpha").is_symlink()


def test_a_folder_of_somebody_is_left_with_a_warning(host: Host) -> None:
    host.put({"alpha": "one"})
    (host.path / "subscription").mkdir()
    injected = host.put({"alpha": "two"})
    assert (host.path / "subscription").is_dir() and "subscription" in injected.warnings[0]
    with pytest.raises(SecretError) as failure:
        host.put({"subscription": "x"})
    assert failure.value.code == "foreign_content"


@pytest.mark.parametrize("made", ["link", "file", "writable parent"])
def test_an_unsafe_place_is_refused(host: Host, memory: Path, made: str) -> None:
    if made == "link":
        (memory / "elsewhere").mkdir()
        host.path.symlink_to(memory / "elsewhere")
    elif made == "file":
        host.path.write_text("x")
    else:
        memory.chmod(0o777)
    with pytest.raises(SecretError) as failure:
        host.put({"alpha": "one"})
    assert failure.value.code == "unsafe_directory"


@ROOT
def test_a_folder_of_another_user_is_refused(host: Host) -> None:
    host.path.mkdir()
    os.chown(host.path, 65534, 65534)
    with pytest.raises(SecretError, match="belongs to somebody else"):
        host.put({"alpha": "one"})


def test_a_disk_is_refused(tmp_path: Path) -> None:
    if memory_storage.storage_of(tmp_path.stat().st_dev).memory:
        pytest.skip("temporary files are in memory here")
    host = Host(tmp_path, AgeBox(tmp_path))
    with pytest.raises(SecretError) as failure:
        host.put({"alpha": "one"})
    assert failure.value.code == "not_in_memory" and "mount: true" in str(failure.value)
    assert not host.path.exists()


@ROOT
def test_each_file_has_its_owner_from_birth(host: Host) -> None:
    host.put({"alpha": "one", "beta": "two"}, owners={"alpha": "nobody"})
    info = (host.path / "alpha").stat()
    assert (info.st_uid, stat.S_IMODE(info.st_mode)) == (65534, 0o400)
    reader = "import os,sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); print(open(sys.argv[1]).read())"
    read = [
        subprocess.run(
            [sys.executable, "-c", reader, str(host.path / name)], capture_output=True, text=True, check=False
        )
        for name in ("alpha", "beta")
    ]
    assert read[0].stdout == "one\n" and "PermissionError" in read[1].stderr
    assert host.put({"alpha": "one", "beta": "two"}).plan.changes[0].change == "owner"
    assert (host.path / "alpha").stat().st_uid == 0


@pytest.mark.parametrize("owner", ["nobody-of-that-name", "0" if os.geteuid() else "no such"])
def test_an_owner_that_cannot_be_is_refused(host: Host, owner: str) -> None:
    with pytest.raises(SecretError) as failure:
        host.put({"alpha": "one"}, owner=owner)
    assert failure.value.code == "unknown_owner" and not host.path.exists()


@ROOT
def test_a_tmpfs_of_its_own(tmp_path: Path) -> None:
    """On a disk, a memory-backed folder is made; it is gone again with the last secret."""
    tmp_path.chmod(0o755)
    host = Host(tmp_path, AgeBox(tmp_path))
    probe = tmp_path / "probe"
    probe.mkdir()
    if Programs().run(["mount", "-t", "tmpfs", "tmpfs", str(probe)]).status:
        pytest.skip("this root may not mount")
    Programs().run(["umount", str(probe)])
    host.world = injection.World(SystemClock(), Programs(), host.steps.append, host.hidden.append)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o022 and not folder.stat().st_mode & stat.S_ISVTX:
            pytest.skip(f"{folder} is open to others")
    try:
        assert host.put({"alpha": "one"}, check=True, mount=True).plan.changed and not host.path.exists()
        host.put({"alpha": "one"}, mount=True)
        storage = memory_storage.storage_of(host.path.stat().st_dev)
        assert storage.kind == "tmpfs" and host.path.is_mount()
        assert storage.noswap == (tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 4))
        assert not host.put({"alpha": "one"}, mount=True).plan.changed
        assert host.values() == {"alpha": "one"}
    finally:
        removed = injection.remove(str(host.path), host.world, check=False)
    assert removed and not host.path.exists()


def test_all_of_it_is_removed(host: Host) -> None:
    assert not injection.remove(str(host.path), host.world, check=False)
    host.put({"alpha": "one"})
    assert injection.remove(str(host.path), host.world, check=True) and host.values() == {"alpha": "one"}
    assert injection.remove(str(host.path), host.world, check=False) and not host.path.exists()


def test_two_runs_wait_for_each_other(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.put({"alpha": "one"})
    monkeypatch.setattr(secret_directory, "LOCK_SECONDS", 0.3)
    with SecretDirectory(str(host.path), SystemClock(), create=False) as held, held.locked():
        with pytest.raises(SecretError) as failure:
            host.put({"alpha": "two"})
    assert failure.value.code == "busy" and host.values() == {"alpha": "one"}
    assert host.put({"alpha": "two"}).plan.changed


def test_who_has_opened_a_file_reads_it_to_its_end(host: Host) -> None:
    host.put({"alpha": "old-value"})
    path = host.path / "alpha"
    with path.open() as reader:
        host.put({"alpha": "new-value"})
        assert reader.read() == "old-value" and path.read_text() == "new-value"


@pytest.mark.parametrize("read_by_somebody", [False, True])
def test_bytes_are_overwritten_when_nobody_reads_them(
    memory: Path, monkeypatch: pytest.MonkeyPatch, read_by_somebody: bool
) -> None:
    path = memory / "old"
    path.write_bytes(b"secret-bytes")
    path.chmod(0o400)
    kept: list[int] = []
    real = discarding._writable

    def keeping(name: str, folder: int) -> Optional[int]:
        # A duplicate is no other opening of the file, so it keeps the file without counting as a reader.
        descriptor = real(name, folder)
        assert descriptor is not None
        kept.append(os.dup(descriptor))
        return descriptor

    monkeypatch.setattr(discarding, "_writable", keeping)
    folder = os.open(memory, os.O_RDONLY)
    reader = os.open(path, os.O_RDONLY) if read_by_somebody else None
    discarding.discard("old", folder)
    assert Path(f"/proc/self/fd/{kept[0]}").read_bytes() == (b"secret-bytes" if read_by_somebody else bytes(12))
    assert not path.exists()
    for descriptor in (folder, kept[0], *([reader] if reader is not None else [])):
        os.close(descriptor)


def test_readers_see_old_or_new_and_never_nothing(host: Host) -> None:
    """Three readers open by name without pause, while sets are switched with names that come and go."""
    host.put({"alpha": "0" * 64, "beta": "0" * 64})
    stop = threading.Event()
    wrong: list[str] = []
    reads = [0]

    def read() -> None:
        while not stop.is_set():
            for name in ("alpha", "beta"):
                try:
                    content = (host.path / name).read_text()
                except OSError as error:
                    wrong.append(f"{name}: {error}")
                else:
                    if len(content) != 64 or len(set(content)) != 1:
                        wrong.append(content)
                reads[0] += 1

    readers = [threading.Thread(target=read) for _number in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 6):
            host.put({"alpha": str(number) * 64, "beta": str(number) * 64, f"extra{number}": "x"})
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == [] and reads[0] > 100


def test_who_is_on_the_way_through_the_old_set_arrives(host: Host) -> None:
    """What belongs together is read through one set, which stays for a while after the switch."""
    host.put({"user": "u1", "password": "p1"})
    folder = os.open(host.path / "..data", os.O_RDONLY | os.O_DIRECTORY)
    waited: list[float] = []

    class Waiting(SystemClock):
        def sleep(self, seconds: float) -> None:
            assert Path(f"/proc/self/fd/{folder}/password").read_text() == "p1"
            assert host.values() == {"user": "u2", "password": "p2"}
            waited.append(seconds)

    host.world = injection.World(Waiting(), NoPrograms(), host.steps.append, host.hidden.append)
    host.put({"user": "u2", "password": "p2"})
    assert waited == [secret_directory.GRACE_SECONDS] and os.listdir(folder) == []
    os.close(folder)


def test_no_value_is_in_a_plan_or_an_error(host: Host) -> None:
    host.put({"alpha": "canary-value-1"})
    injected = host.put({"alpha": "canary-value-2"})
    assert "canary" not in repr(injected) + str(injected.fields(str(host.path)))


def test_a_full_memory_leaves_the_old_set(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.put({"alpha": "one", "beta": "two"})
    before = host.state()
    real = secret_directory.write_all

    def full(descriptor: int, content: bytes) -> None:
        real(descriptor, content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(secret_directory, "write_all", full)
    with pytest.raises(SecretError, match="No space left") as failure:
        host.put({"alpha": "ONE", "beta": "TWO"})
    after = host.state()
    assert failure.value.code == "disk" and host.values() == {"alpha": "one", "beta": "two"}
    assert set(after) == set(before)


def test_planning_is_pure() -> None:
    """Decisions from data alone, one of each kind."""
    found = Found(
        exists=True,
        ours=True,
        set="..set-0123456789ab",
        secrets={
            name: InstalledSecret(name, Hidden(value), 1, 1, "3", intact=name != "damaged")
            for name, value in {"same": b"v", "other": b"v", "damaged": b"v", "moved": b"v", "gone": b"v"}.items()
        },
        occupied={name: "link" for name in ("same", "other", "damaged", "moved", "gone")},
    )
    wanted = [
        SecretFile("same", Hidden(b"v"), 1, 1, "4"),
        SecretFile("other", Hidden(b"w"), 1, 1, "4"),
        SecretFile("damaged", Hidden(b"v"), 1, 1, "3"),
        SecretFile("moved", Hidden(b"v"), 2, 1, "3"),
        SecretFile("new", Hidden(b"v"), 1, 1, "1"),
        SecretFile("unread", None, 1, 1),
    ]
    decided = plan(wanted, found, Hidden(b"k" * 32), "/run/secrets")
    assert {change.name: change.change for change in decided.changes} == {
        "same": "kept",
        "other": "changed",
        "damaged": "repaired",
        "moved": "owner",
        "new": "added",
        "unread": "added",
        "gone": "removed",
    }
    assert [secret.name for secret in decided.keep] == ["same"] and decided.link == ("new", "unread")
    assert decided.remove == ("gone",) and decided.switch


@pytest.mark.parametrize(
    ("line", "memory", "swappable"),
    [
        ("31 25 0:77 / /run rw - tmpfs tmpfs rw,size=1k", True, True),
        ("31 25 0:77 / /run rw shared:1 master:2 - tmpfs tmpfs rw,size=1k,noswap", True, False),
        ("31 25 0:77 / /run rw - ramfs ramfs rw", True, False),
        ("31 25 0:77 / /run rw - overlay overlay rw,upperdir=/tmpfs", False, False),
        ("31 25 0:77 / /run rw - fuse.tmpfs tmpfs rw", False, False),
        ("31 25 0:78 / /run rw - tmpfs tmpfs rw", False, False),
    ],
)
def test_storage_is_told_by_its_mount(tmp_path: Path, line: str, memory: bool, swappable: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"25 1 254:0 / / rw - ext4 /dev/vda rw\n{line}\n")
    storage = memory_storage.storage_of(os.makedev(0, 77), str(mounts))
    assert (storage.memory, storage.swappable) == (memory, swappable)


def test_swap_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swaps = tmp_path / "swaps"
    swaps.write_text("Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n/dev/sda2 partition 1 0 -2\n")
    assert memory_storage.swap_in_use(str(swaps)) == ["/dev/sda2"]
    monkeypatch.setattr(memory_storage, "swap_in_use", lambda: ["/dev/sda2"])
    assert "/dev/sda2" in str(memory_storage.check_memory(memory_storage.Storage("tmpfs"), "/run/secrets"))
    assert memory_storage.check_memory(memory_storage.Storage("tmpfs", noswap=True), "/run/secrets") is None
