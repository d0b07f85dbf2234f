# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module secret_files through Ansible: what it makes and returns, and that no value gets out on any way."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from memory_folder import AgeBox, memory_folder
from playbook import COLLECTIONS, Playbook, Ran

COMMAND = Path(sys.executable).with_name("ansible-playbook")
pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="ansible-core is not installed beside this Python")


class Bed:
    """A source with canaries, a folder for their files, and every place where Ansible leaves something."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self.folder, self.directory = folder, memory / "secrets"
        (folder / "host").mkdir()
        self.box = AgeBox(folder / "host")
        self.play = Playbook(folder / "play", {"one": {}})
        word = secrets.token_hex
        self.values = {
            "password": f"Pw{word(12)}",
            "lines": f"first-{word(8)}\nsecond-{word(8)}\n",
            "meta": f"'{word(8)}\" $(x) {{{{ y }}}} \\",
            "letters": f"héllo-{word(8)}",
        }

    def options(self, **more: Any) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "source": self.box.source,
            "secrets": self.box.put(self.values),
            **more,
        }

    def run(self, *arguments: str, **more: Any) -> Ran:
        return self.play.task("secret_files", self.options(**more), *arguments)

    def rotate(self) -> None:
        self.values = {name: f"{value}{secrets.token_hex(4)}" for name, value in self.values.items()}

    def leaks(self, output: str = "") -> list[str]:
        """Canaries, in all their forms, in what was said and in every file that was left anywhere but in memory."""
        forms = {
            form for value in self.values.values() for part in (value, *value.splitlines()) for form in _forms(part)
        }
        found = [f"output: {form!r}" for form in forms if form in output.encode()]
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                found += [f"{path}: {form!r}" for form in forms if form in content]
        return found


def _forms(value: str) -> set[bytes]:
    raw = value.encode()
    encoded = {base64.b64encode(raw[skip:])[:-4] for skip in range(3)}
    return {raw, raw[::-1], raw.hex().encode(), repr(value)[1:-1].encode(), *encoded}


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    monkeypatch.setenv("ANSIBLE_LOCAL_TEMP", str(tmp_path / "local"))
    monkeypatch.setenv("ANSIBLE_REMOTE_TEMP", str(tmp_path / "remote"))
    monkeypatch.setenv("ANSIBLE_LOG_PATH", str(tmp_path / "ansible.log"))
    with memory_folder() as memory:
        yield Bed(tmp_path, memory)


def test_files_are_made_changed_and_removed(bed: Bed) -> None:
    made = bed.run().results["one"]
    assert made["changed"] and made["changed_names"] == sorted(bed.values)
    assert {path.name: path.read_text() for path in bed.directory.glob("[a-z]*")} == bed.values
    assert stat.S_IMODE((bed.directory / "password").stat().st_mode) == 0o400
    bed.values["password"] = "another-one"
    del bed.values["lines"]
    ran = bed.run("--diff")
    changed = ran.results["one"]
    assert changed["changed_names"] == ["password"] and changed["removed"] == ["lines"]
    assert "-lines: version " in ran.output and "fingerprint" in ran.output
    again = bed.run().results["one"]
    assert not again["changed"] and [entry["change"] for entry in again["secrets"]] == ["kept"] * 3
    gone = bed.play.task("secret_files", {"directory": str(bed.directory), "state": "absent"}).results["one"]
    assert gone["changed"] and not bed.directory.exists()


class Sampler(threading.Thread):
    """Reads arguments and environment of every process, many times a second; ``seen`` is where a value stood."""

    def __init__(self, values: list[str]) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.looked = 0
        self._forms = [value.encode() for value in values]
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.004):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        content = (process / name).read_bytes()
                        self.looked += 1
                        self.seen.update(f"{process}/{name}" for form in self._forms if form in content)

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self.join()


@pytest.mark.parametrize("arguments", [("-vvvv", "--diff"), ("-vvvv", "--check", "--diff")], ids=["real", "check"])
def test_no_value_gets_out(bed: Bed, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    """Not by what is said, not into any file, not into an argument or an environment."""
    monkeypatch.setenv("ANSIBLE_KEEP_REMOTE_FILES", "1")
    with Sampler(list(bed.values.values())) as sampler:
        ran = bed.run(*arguments)
    assert ran.results["one"]["changed"] and bed.directory.exists() == ("--check" not in arguments)
    assert bed.leaks(ran.output) == [] and sampler.seen == set() and sampler.looked > 1000


def test_a_value_that_gets_out_is_noticed(bed: Bed) -> None:
    """The tests of this file find what they look for, where there is something."""
    for value in bed.values.values():
        line = value.splitlines()[0]
        for form in (line, line.encode().hex(), base64.b64encode(b"ab" + value.encode()).decode()):
            assert bed.leaks(f"said {form}"), form
    (bed.folder / "left").write_text(bed.values["password"])
    assert any("left" in leak for leak in bed.leaks())
    showing = [sys.executable, "-c", "import time; time.sleep(60)", bed.values["password"]]
    shown = subprocess.Popen(showing)
    with Sampler([bed.values["password"]]) as sampler:
        time.sleep(0.2)
    shown.kill()
    shown.wait()
    assert sampler.seen


def test_a_failure_names_the_step_and_no_value(bed: Bed) -> None:
    """Each host of one play has something else that is wrong."""
    plain = bed.options()
    source, declared = plain["source"], plain["secrets"]
    damaged = bed.folder / "host" / "damaged.age"
    damaged.write_bytes(bed.box.file.read_bytes()[:-40])
    identity = bed.folder / "host" / "other.txt"
    identity.write_text("AGE-SECRET-KEY-NONE")
    identity.chmod(0o400)
    (bed.directory.parent / "foreign").mkdir()
    (bed.directory.parent / "foreign" / "precious").write_text("x")
    (bed.directory.parent / "link").symlink_to(bed.folder)
    empty = AgeBox(_made(bed.folder / "host" / "empty"))
    cases: dict[str, tuple[str, str, dict[str, Any]]] = {
        "file": ("unreadable", "read", {"source": {**source, "file": "/nonexistent/secrets.age"}}),
        "field": ("missing", "read", {"secrets": [{**declared[0], "field": "nothing"}]}),
        "empty": ("empty", "switch", {"secrets": empty.put({**bed.values, "letters": ""}), "source": empty.source}),
        "identity": ("unreadable", "read", {"source": {**source, "identity_files": [str(identity)]}}),
        "damaged": ("unreadable", "read", {"source": {**source, "file": str(damaged)}}),
        "directory": ("foreign_content", "switch", {"directory": str(bed.directory.parent / "foreign")}),
        "place": ("unsafe_directory", "inspect", {"directory": str(bed.directory.parent / "link")}),
        "owner": ("unknown_owner", "options", {"owner": "nobody-of-this-name"}),
        "option": ("unreadable", "options", {"source": {**source, "address": "https://vault.example"}}),
    }
    hosts = {name: {"given": {**plain, **wrong}} for name, (_code, _step, wrong) in cases.items()}
    names = ("directory", "source", "secrets", "owner")
    options = {name: f"{{{{ given.{name} | default(omit) }}}}" for name in names}
    ran = Playbook(bed.folder / "failures", hosts).task("secret_files", options, "-vvvv", "--diff")
    expected = {name: (code, step) for name, (code, step, _wrong) in cases.items()}
    assert {name: (one.get("error_code"), one.get("step")) for name, one in ran.results.items()} == expected
    assert bed.leaks(ran.output) == []


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_an_unforeseen_error_shows_no_text(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception with a value in its text, raised inside of the engine while the value is in its hands."""
    (bed.folder / "site").mkdir()
    (bed.folder / "site" / "pyrage.py").write_text(
        "class IdentityError(Exception): pass\n"
        "class DecryptError(Exception): pass\n"
        "class RecipientError(Exception): pass\n"
        "class x25519:\n"
        "    class Identity:\n"
        "        from_str = staticmethod(lambda text: text)\n"
        "def decrypt(content, keys):\n"
        "    try:\n"
        "        raise KeyError('can' + 'ary-of-cause')\n"
        "    except KeyError as error:\n"
        "        raise ValueError('can' + 'ary-of-library') from error\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(bed.folder / "site"))
    monkeypatch.setenv("ANSIBLE_DISPLAY_TRACEBACK", "always")
    ran = bed.run("-vvvv", "--diff")
    result = ran.results["one"]
    assert result["error_code"] == "unforeseen" and "ValueError at pyrage.py:" in result["msg"], result
    assert "canary" not in ran.output and "canary" not in str(result)


def _kill_all(ancestor: int) -> None:
    """SIGKILL for a process and all that came from it: workers of Ansible make sessions of their own."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    family = [ancestor]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    for one in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def test_killed_it_leaves_nothing_behind(bed: Bed) -> None:
    """SIGKILL for the whole tree of processes, once the module has come to the host: values are in the folder alone."""
    bed.run()
    for delay in (0.0, 0.2):
        bed.rotate()
        bed.options()
        playing = subprocess.Popen(
            [str(COMMAND), "--inventory", str(bed.play.folder / "inventory.json"), str(bed.play.folder / "play.json")],
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        end = time.monotonic() + 20
        while time.monotonic() < end and not list((bed.folder / "remote").glob("ansible-tmp-*/*")):
            time.sleep(0.01)
        time.sleep(delay)
        _kill_all(playing.pid)
        output, _none = playing.communicate()
        assert bed.leaks(output.decode()) == []
        shutil.rmtree(bed.folder / "remote")
    bed.rotate()
    assert bed.run().results["one"]["changed_names"] == sorted(bed.values) and bed.leaks() == []
