# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit files of systemd, as text (pure). Formats: systemd.unit(5), systemd.service(5), systemd.socket(5)."""

from __future__ import annotations

import math
import os
import re
from typing import Optional, Sequence

from ..effects import Unit
from ..errors import ContinuityError

TARGET = "continuity-agents.target"
BOOT_CHECK = "continuity-boot-check.service"
SLOTS = ("blue", "green")
LONGEST_NAME = 255

OWNER = re.compile(r"# Written by fleetops\.continuity for (.*)\n(?:# Agent (.*)\n)?")

OVERLAP = "# Blue and green may run side by side\n"

SOCKET = """\
# Written by fleetops.continuity for {root}
# Agent {agent}
[Unit]
Description=Socket of agent {text}
ConditionPathExists={script_blue}

[Socket]
{listen}
Backlog=512
Service={service_blue}

"""

SERVICE = """\
# Written by fleetops.continuity for {root}
# Agent {agent}
{overlap}[Unit]
Description=Agent {text} (%i)
After=network.target {boot_check}
StartLimitIntervalSec=0
ConditionPathExists={script}

[Service]
Type={type}
ExecStart={command} 1 %i
WorkingDirectory={directory}
StandardOutput=append:{log_file}
StandardError=inherit
Restart=on-failure
RestartSec=1
KillMode=mixed
TimeoutStopSec={stop_seconds}
"""

BOOT = """\
# Written by fleetops.continuity for {root}
[Unit]
Description=Take back a rollout that was never confirmed, before the agents start
After=local-fs.target network.target
Before={target}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command}

[Install]
WantedBy=multi-user.target
"""

TOGETHER = """\
# Written by fleetops.continuity for {root}
[Unit]
Description=Agents of the fleet on this host
After={boot_check}
{wants}
[Install]
WantedBy=multi-user.target
"""

HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
"""


def socket_unit(agent: str) -> str:
    return f"agent-{_escape(agent)}.socket"


def service_unit(agent: str, slot: str) -> str:
    """The instance of a slot; an empty slot names the template."""
    name = f"agent-{_escape(agent)}@{slot}.service"
    if len(name) > LONGEST_NAME:
        raise ContinuityError(
            "systemd takes unit names of at most 255 characters", where=agent, fix="Give the agent a shorter name"
        )
    return name


def companion_unit(name: str) -> str:
    return f"continuity-{_escape(name)}.service"


def owner(text: Optional[str]) -> Optional[tuple[str, Optional[str]]]:
    """(root, agent) of a unit file that we wrote; agent is None for the common ones. None of any other."""
    found = OWNER.match(text or "")
    return (found.group(1), found.group(2)) if found else None


def overlaps(template: Optional[str]) -> bool:
    """Whether the template of an agent says that its two instances may run side by side."""
    return OVERLAP in (template or "").partition("[Unit]")[0]


def render_agent(root: str, unit: Unit, *, hardening: bool) -> dict[str, str]:
    """File name to text: the template, and the socket of an agent that takes one over."""
    check_name(unit.agent)
    text = _value(unit.agent)
    scripts = os.path.join(root, "agents", unit.agent, "{slot}", "units", unit.agent)
    service = SERVICE.format(
        agent=unit.agent,
        root=root,
        overlap=OVERLAP if unit.overlap else "",
        text=text,
        boot_check=BOOT_CHECK,
        script=_value(scripts).replace("{slot}", "%i"),
        type="notify" if unit.sockets else "exec",
        command=_command(scripts).replace("{slot}", "%i"),
        directory=_value(unit.directory),
        log_file=_value(unit.log_file),
        stop_seconds=max(1, math.ceil(unit.stop_seconds)),
    )
    if unit.sockets:
        service += f"Sockets={_value(socket_unit(unit.agent))}\n"
    if unit.user is not None:
        service += f"User={_value(unit.user)}\n"
    for name, path in sorted(unit.credentials.items()):
        service += f"LoadCredential={_value(name)}:{_value(path)}\n"
    if hardening:
        service += HARDENING
    files = {service_unit(unit.agent, ""): service}
    if unit.sockets:
        files[socket_unit(unit.agent)] = SOCKET.format(
            agent=unit.agent,
            root=root,
            text=text,
            script_blue=_value(scripts).replace("{slot}", "blue"),
            listen="\n".join(f"ListenStream={_value(address)}" for address in unit.sockets),
            service_blue=_value(service_unit(unit.agent, "blue")),
        )
    return files


def render_common(root: str, python: str, units: Sequence[Unit]) -> dict[str, str]:
    """The boot check, and the target that a booting host starts."""
    command = (python, os.path.join(root, "continuity.pyz"), "boot-check", "--root", root)
    wanted = []
    for unit in sorted(units, key=lambda unit: unit.agent):
        sockets = [socket_unit(unit.agent)] if unit.sockets else []
        wanted.append("Wants=" + " ".join(map(_value, [*sockets, service_unit(unit.agent, "blue")])) + "\n")
    return {
        BOOT_CHECK: BOOT.format(root=root, target=TARGET, command=_command(*command)),
        TARGET: TOGETHER.format(root=root, boot_check=BOOT_CHECK, wants="".join(wanted)),
    }


def check_name(agent: str) -> None:
    """Refuse a name that could not be a file's, or that systemd would not execute."""
    if not agent or agent in (".", "..") or re.search(r"[/\\\"'\x00-\x1f\x7f]", agent):
        raise ContinuityError(
            f"{agent!r} cannot be the name of a unit", where=agent, fix="Rename the agent: no / and \\, no quotes"
        )


def _escape(name: str) -> str:
    """Bytes that a unit name cannot hold, as ``:xx``: not every setting takes systemd's own ``\\xxx``."""
    return "".join(
        chr(byte) if chr(byte) in "-_." or (byte < 128 and chr(byte).isalnum()) else f":{byte:02x}"
        for byte in os.fsencode(name)
    )


def _value(text: str) -> str:
    if re.search(r"[\x00-\x1f]", text) or text != text.strip() or text.endswith("\\"):
        raise ContinuityError(
            "a unit file cannot hold this text (line break, blank at an end, or \\ at the end)",
            where=text,
            fix="Choose another path or name",
        )
    return text.replace("%", "%%")


def _command(program: str, *arguments: str) -> str:
    """A command line. systemd executes no path with quotes or a backslash, and replaces $ only behind it."""
    for word in (program, *arguments):
        if re.search(r"[\\\"']", word):
            raise ContinuityError("systemd executes no path with quotes or \\", where=word, fix="Choose another path")
    return " ".join([f'"{_value(program)}"', *(f'"{_value(word)}"'.replace("$", "$$") for word in arguments)])
