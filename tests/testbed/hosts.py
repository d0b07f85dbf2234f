# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts to try the collection on, MainPC and PC2, and the inventory that reaches them.

    hosts.py create DIRECTORY     two hosts; writes DIRECTORY/hosts.yml
    hosts.py destroy DIRECTORY    what create made in DIRECTORY, and nothing else

As root with podman the hosts are containers that boot systemd and are reached by ssh; otherwise,
or with CONTINUITY_HOSTS=local, they are two folders of this machine under supervisord, each with
an address of 127.0.0.0/8. What create made is kept in DIRECTORY/testbed.json.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PROJECT = CHECKOUT / "inventories/demo/project"
SETTINGS = CHECKOUT / "inventories/demo/group_vars/fleet.yml"
"""What the demo says of its fleet; the test bed takes it over and says only where its hosts differ."""
HOSTS = ("MainPC", "PC2")
PACKAGES = (
    "cron",
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "python3-yaml",
    "python3-zmq",
    "sudo",
    "systemd",
    "systemd-sysv",
)
SUITE = "bookworm"
IMAGE = "localhost/fleet-host"
CGROUP2_MAGIC = "cgroup2fs"
SSH_OPTIONS = (
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    # Without these, a connection to a host whose cable was pulled waits for many minutes.
    "ServerAliveInterval=3",
    "ServerAliveCountMax=3",
)
ADMIT = 'install -d -m 700 ~/.ssh && printf "%s\\n" "$1" > ~/.ssh/authorized_keys'
LIMIT = 10_000
"""Open files and processes of a host: podman's defaults are more than an unprivileged machine may give."""


class TestbedError(RuntimeError):
    """A program of the test bed failed; says which and what it wrote."""

    __test__ = False


def run(*argv: str) -> str:
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise TestbedError(f"{' '.join(argv)} ended with {ended.returncode}: {ended.stderr.strip()}")
    return ended.stdout.strip()


def lacking_for_systemd() -> Optional[str]:
    """Why two systemd hosts cannot be had on this machine; None when they can."""
    if os.environ.get("CONTINUITY_HOSTS") == "local":
        return "CONTINUITY_HOSTS=local"
    if os.geteuid() != 0:
        return "not root"
    missing = [program for program in ("podman", "mmdebstrap", "ssh") if shutil.which(program) is None]
    return f"{', '.join(missing)} not installed" if missing else None


# -- podman ----------------------------------------------------------------------------------------


def podman(*arguments: str) -> str:
    return run("podman", *podman_settings(), *arguments)


def podman_settings() -> list[str]:
    """Where cgroups are not version 2, crun and podman's systemd driver cannot work: runc can."""
    if run("stat", "--file-system", "--format=%T", "/sys/fs/cgroup") == CGROUP2_MAGIC:
        return []
    return ["--runtime=runc", "--cgroup-manager=cgroupfs"]


def image() -> str:
    """The image of a host, built from Debian packages; made again only when their list changes."""
    wanted = hashlib.sha256("\n".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    name = f"{IMAGE}:{wanted}"
    if subprocess.run(["podman", "image", "exists", name], check=False).returncode != 0:
        build = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, "-"]
        with subprocess.Popen(build, stdout=subprocess.PIPE) as packages:
            subprocess.run(["podman", "import", "--quiet", "-", name], stdin=packages.stdout, check=True)
        if packages.returncode != 0:
            podman("image", "rm", "--force", name)
            raise TestbedError(f"mmdebstrap ended with {packages.returncode}")
    return name


def create_systemd(directory: Path) -> dict[str, Any]:
    """Boot both hosts; returns their host variables."""
    key = directory / "ssh_key"
    if not key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    mark = directory_mark(directory)
    network = f"fleet-{mark}"
    made = image()
    destroy_systemd(directory)
    podman("network", "create", network)
    subnet = ipaddress.ip_network(podman("network", "inspect", "--format", "{{(index .Subnets 0).Subnet}}", network))
    variables = {}
    for number, name in enumerate(HOSTS, start=2):
        container = f"{name.lower()}-{mark}"
        podman(
            *("run", "--detach", "--replace", "--systemd=always", "--name", container, "--hostname", name.lower()),
            *("--ulimit", f"nofile={LIMIT}:{LIMIT}", "--ulimit", f"nproc={LIMIT}:{LIMIT}"),
            # An address of its own, so that a host keeps it when it is booted again.
            *("--network", network, "--ip", str(subnet[number])),
            *(made, "/sbin/init"),
        )
    for name in HOSTS:
        container = f"{name.lower()}-{mark}"
        await_boot(container)
        podman("exec", container, "sh", "-c", ADMIT, "sh", Path(f"{key}.pub").read_text().strip())
        address = podman("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
        variables[name] = {
            "ansible_host": address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": " ".join(f"-o {option}" for option in SSH_OPTIONS),
            "ansible_ssh_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
            "continuity_address": address,
            "continuity_root": "/srv/fleet",
            "continuity_supervisor": "systemd",
            "continuity_python": "/usr/bin/python3",
            "testbed_container": container,
        }
    return variables


def await_boot(container: str, seconds: float = 60.0) -> None:
    """Until systemd is up and sshd listens (``degraded`` is up: a unit that a container cannot run)."""
    deadline = time.monotonic() + seconds
    state = ""
    while time.monotonic() < deadline:
        asked = subprocess.run(
            [
                "podman",
                *podman_settings(),
                "exec",
                container,
                "sh",
                "-c",
                "systemctl is-system-running; systemctl is-active ssh",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        state = asked.stdout.strip()
        if state in ("running\nactive", "degraded\nactive"):
            return
        time.sleep(0.3)
    raise TestbedError(f"{container} did not boot within {seconds:g} s: {state!r}")


def destroy_systemd(directory: Path) -> None:
    mark = directory_mark(directory)
    for name in HOSTS:
        podman("rm", "--force", "--ignore", "--time=0", f"{name.lower()}-{mark}")
    subprocess.run(["podman", "network", "rm", "--force", f"fleet-{mark}"], capture_output=True, check=False)


def directory_mark(directory: Path) -> str:
    """What tells the containers of one directory from those of another."""
    return hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:8]


# -- two folders of this machine -------------------------------------------------------------------


def create_local(directory: Path) -> dict[str, Any]:
    variables = {}
    for number, name in enumerate(HOSTS, start=1):
        root = directory / name.lower()
        root.mkdir(parents=True, exist_ok=True)
        variables[name] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "continuity_address": f"127.78.0.{number}",
            "continuity_root": str(root),
            "continuity_supervisor": "supervisord",
            "continuity_python": sys.executable,
        }
    return variables


def destroy_local(directory: Path) -> None:
    """End each root's supervisord by the process id in its own file, then remove the root."""
    for name in HOSTS:
        root = directory / name.lower()
        for pid_file in root.glob("run/supervisord.pid"):
            end_process(int(pid_file.read_text()), root)
        shutil.rmtree(root, ignore_errors=True)


def end_process(pid: int, root: Path, seconds: float = 30.0) -> None:
    command_line = Path(f"/proc/{pid}/cmdline")
    if not command_line.exists() or str(root).encode() not in command_line.read_bytes():
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while command_line.exists() and time.monotonic() < deadline:
        time.sleep(0.2)


# -- both ------------------------------------------------------------------------------------------


def inventory(variables: dict[str, Any]) -> dict[str, Any]:
    """The inventory of both hosts, complete in one file: the demo's settings, each host's own above them."""
    settings = yaml.safe_load(SETTINGS.read_text())
    settings["continuity_project"] = str(PROJECT)
    settings["continuity_baseline"] = str(SETTINGS.parent.parent / "accepted_findings.yml")
    for name, own in variables.items():
        own["continuity_host"] = name
        own["continuity_startup_config"] = str(PROJECT / f"config/{name.lower()}/startup_config.yaml")
        own.setdefault("ansible_connection", "ssh")
    return {"all": {"children": {"fleet": {"hosts": variables, "vars": settings}}}}


def create(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    lacking = lacking_for_systemd()
    kind = "local" if lacking else "systemd"
    (directory / "testbed.json").write_text(json.dumps({"kind": kind, "instead_of_systemd": lacking}))
    variables = create_local(directory) if lacking else create_systemd(directory)
    (directory / "hosts.yml").write_text(json.dumps(inventory(variables), indent=2) + "\n")
    print(f"{kind} hosts: " + ", ".join(f"{name} {own['continuity_address']}" for name, own in variables.items()))


def destroy(directory: Path) -> None:
    description = directory / "testbed.json"
    if description.exists():
        kind = json.loads(description.read_text())["kind"]
        (destroy_systemd if kind == "systemd" else destroy_local)(directory)
        description.unlink()
    (directory / "hosts.yml").unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("action", choices=("create", "destroy"))
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    {"create": create, "destroy": destroy}[arguments.action](arguments.directory)


if __name__ == "__main__":
    main()
