# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sending is killed, and its connections are cut, at random moments; the next run goes on.

``CONTINUITY_ATTACKS`` says how often, ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import (
    maintenance,
    offsite_copies,
    snapshots,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.offsite_copies import Copy
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.destination import Destination
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.faults import OffsiteError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testbed"))
from object_servers import SERVERS, Server, UnavailableError

pyrage = pytest.importorskip("pyrage", reason="the Python package pyrage is not installed")
KILLS = int(os.environ.get("CONTINUITY_ATTACKS", "3"))
CUTS = int(os.environ.get("CONTINUITY_ATTACKS", "1"))
ROUNDS = int(os.environ.get("CONTINUITY_ATTACKS", "5"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main; sys.exit(main())"
)
CLOCK = SystemClock()


@pytest.fixture(scope="module", params=["directory", "s3", "webdav"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as started:
            yield started
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def server(running: Server, tmp_path: Path) -> Server:
    """The same server for all tests, and a prefix for each."""
    if running.kind == "directory":
        Path(running.url, tmp_path.name).mkdir()
    return replace(running, url=f"{running.url}/{tmp_path.name}")


class Sender:
    """A repository that grows before each attack, and one who sends it."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance = chance
        self.tree, self.repository = folder / "tree", str(folder / "repository")
        self.tree.mkdir()
        identity = pyrage.x25519.Identity.generate()
        self.public, self.private = str(identity.to_public()), str(folder / "identity")
        Path(self.private).write_text(f"{identity}\n")

    def grow(self) -> str:
        (self.tree / f"file-{len(list(self.tree.iterdir()))}").write_bytes(self.chance.randbytes(3_000_000))
        taken = snapshots.take_snapshot(self.repository, snapshots.Wanted("pc2", (str(self.tree),)), CLOCK)
        assert taken.manifest is not None
        return taken.manifest.digest

    def command(self, server: Server) -> list[str]:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in server.options.items()]
        wanted = ["offsite", "send", "--repository", self.repository, "--destination", server.url]
        return [sys.executable, "-c", PROGRAM, COLLECTIONS, *wanted, "--recipient", self.public, *options]

    def whole(self, copy: Copy, newest: str, target: Path) -> None:
        checked = offsite_copies.verify(copy, [self.private], level="data", expected=newest)
        assert checked.faults() == [], f"ATTACK_SEED={SEED}"
        assert offsite_copies.verify(copy, [], repository_path=self.repository).faults() == [], f"ATTACK_SEED={SEED}"
        offsite_copies.restore(copy, "latest", [self.private], target=str(target))
        for file in self.tree.iterdir():
            assert filecmp.cmp(file, f"{target}{file}", shallow=False)
        assert not Path(self.repository, "tmp", ".offsite").exists()


def test_a_sender_that_is_killed_loses_nothing(server: Server, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    sender = Sender(tmp_path, chance)
    copy = Copy(Destination(server.url, **server.options))
    newest = sender.grow()
    begun = time.monotonic()
    subprocess.run(sender.command(server), check=True, stdout=subprocess.DEVNULL)
    lasts = time.monotonic() - begun
    killed, stands = 0, newest
    for _unused in range(5 * KILLS):
        newest = sender.grow()
        begun = time.monotonic()
        process = subprocess.Popen(sender.command(server), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.3 * lasts, lasts))
            lasts = min(lasts, time.monotonic() - begun)
            stands = newest
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        # What was sent before stands, whatever the killed one left.
        assert offsite_copies.verify(copy, [sender.private], level="data", expected=stands).faults() == []
        if killed == KILLS:
            break
    assert killed, f"nothing was killed: ATTACK_SEED={SEED}"
    subprocess.run(sender.command(server), check=True, stdout=subprocess.DEVNULL)
    sender.whole(copy, newest, tmp_path / "target")


class CuttingProxy(threading.Thread):
    """Passes connections on to a port, and cuts each after a random number of bytes while ``cutting``."""

    def __init__(self, port: int, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._to, self._chance = port, chance
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cutting = False
        self.cuts = 0
        self._open: list[socket.socket] = []

    def run(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def stop(self) -> None:
        # Closing alone would not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join()
        for client in self._open:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _pass(self, client: socket.socket) -> None:
        left = self._chance.randrange(1, 2_000_000) if self.cutting else None
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            other = {client: server, server: client}
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        piece = ready.recv(65536 if left is None else min(65536, left))
                        if not piece:
                            return
                        other[ready].sendall(piece)
                    except OSError:
                        return
                    if left is not None:
                        left -= len(piece)
                        if left <= 0:
                            self.cuts += 1
                            return


@pytest.mark.parametrize("running", ["s3", "webdav", "plain-http", "gcs", "azure"], indirect=True)
def test_connections_that_are_cut_are_made_up_for(server: Server, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    sender = Sender(tmp_path, chance)
    proxy = CuttingProxy(server.port, chance)
    proxy.start()
    try:
        through = _through(server, proxy.port, tmp_path)
        copy = Copy(Destination(through.url, **through.options, patience=1))
        refused = 0
        newest = ""
        for _unused in range(CUTS):
            newest = sender.grow()
            proxy.cutting = True
            try:
                offsite_copies.send(sender.repository, copy, [sender.public], None, CLOCK)
            except OffsiteError as error:
                assert "Run again" in str(error), f"ATTACK_SEED={SEED}: {error}"
                refused += 1
            proxy.cutting = False
        assert proxy.cuts, f"nothing was cut: ATTACK_SEED={SEED}"
        offsite_copies.send(sender.repository, copy, [sender.public], None, CLOCK)
        sender.whole(copy, newest, tmp_path / "target")
    finally:
        proxy.stop()


def _through(server: Server, port: int, folder: Path) -> Server:
    """The same server behind another port."""
    old, new = f"127.0.0.1:{server.port}", f"127.0.0.1:{port}"
    options = {name: value.replace(old, new) for name, value in server.options.items()}
    if server.kind == "azure":
        text = Path(options["credentials_file"]).read_text()
        options["credentials_file"] = str(folder / "through")
        Path(options["credentials_file"]).write_text(text.replace(old, new))
    return Server(server.kind, server.url.replace(old, new), None, port, options)


def test_an_endpoint_that_goes_away_midway_is_said_and_what_was_sent_is_kept(tmp_path: Path) -> None:
    """The server dies for good while objects travel; another one over the same files goes on."""
    sender = Sender(tmp_path, random.Random(SEED))
    for _unused in range(6):
        newest = sender.grow()
    with SERVERS["plain-http"](tmp_path) as server:
        proxy = CuttingProxy(server.port, random.Random(SEED))
        proxy.start()
        through = _through(server, proxy.port, tmp_path)
        copy = Copy(Destination(through.url, **through.options, patience=1), parallel=1)
        seen: list[int] = []

        def watch(count: int, _size: int) -> None:
            seen.append(count)
            if count == 3:
                proxy.stop()

        with pytest.raises(OffsiteError, match="does not answer as it should"):
            offsite_copies.send(sender.repository, copy, [sender.public], None, CLOCK, progress=watch)
        direct = Copy(Destination(server.url, **server.options))
        kept = len(list((tmp_path / "plain").rglob("*.pack.age")))
        assert 3 <= kept < 6
        _plan, sent = offsite_copies.send(sender.repository, direct, [sender.public], None, CLOCK)
        # Three were proven; what arrived cut off, or unproven, may be sent again.
        assert 6 - kept <= len([name for name in sent.sent if name.endswith(".pack.age")]) <= 3
        sender.whole(direct, newest, tmp_path / "target")


def test_sending_beside_snapshots_and_prune(tmp_path: Path) -> None:
    """What is sent is whole at every time, whatever is taken, forgotten and pruned meanwhile."""
    chance = random.Random(SEED)
    sender = Sender(tmp_path, chance)
    (tmp_path / "far").mkdir()
    copy = Copy(Destination(str(tmp_path / "far")))
    keep = maintenance.Dropping(maintenance.retention_from({"keep_last": 2}))
    sender.grow()
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            for file in chance.sample(sorted(sender.tree.iterdir()), 1):
                file.write_bytes(chance.randbytes(500_000))
            snapshots.take_snapshot(sender.repository, snapshots.Wanted("pc2", (str(sender.tree),)), CLOCK)
            maintenance.forget(sender.repository, keep, CLOCK, prune=True, max_unused=0.0)

    with ThreadPoolExecutor(1) as pool:
        churning = pool.submit(churn)
        try:
            for _unused in range(ROUNDS):
                offsite_copies.send(sender.repository, copy, [sender.public], None, CLOCK, follow_forget=True)
                checked = offsite_copies.verify(copy, [sender.private], level="data")
                assert checked.faults() == [], f"ATTACK_SEED={SEED}"
        finally:
            done.set()
        churning.result()
    offsite_copies.send(sender.repository, copy, [sender.public], None, CLOCK, follow_forget=True)
    assert offsite_copies.verify(copy, [], repository_path=sender.repository).faults() == []
