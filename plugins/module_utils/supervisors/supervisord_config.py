# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What supervisord reads, as text (pure). Format: http://supervisord.org/configuration.html"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shlex
from dataclasses import dataclass
from typing import Optional, Sequence

from ..effects import Unit
from ..errors import ContinuityError

BOOT_CHECK = "continuity-boot-check"
COMPANION = "continuity-"
LONGEST_SOCKET = 98
"""sockaddr_un holds 107 bytes, and supervisord first binds ``<path>.<its pid>`` beside the socket."""

HOLDER, WORKER = 0, 1

DAEMON = """\
; Written by fleetops.continuity. Changes are lost.
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile={log}
logfile_maxbytes=5MB
logfile_backups=4
loglevel=info
pidfile={pid}
childlogdir={run}
directory={root}
identifier=continuity
minfds=4096
umask=022

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=conf.d/*.conf
"""

COMMON = """\
directory={directory}
autostart=true
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs={stop_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={log_file}
stdout_logfile_maxbytes=0
"""
"""An agent is started again for ever, as under systemd: giving up would turn a passing fault of its
surroundings into an outage."""

WITH_SOCKET = """\
; Written by fleetops.continuity. Changes are lost.
[fcgi-program:{agent}]
command={script} %(process_num)d
process_name=%(program_name)s@%(process_num)d
numprocs=2
socket=tcp://{socket}
socket_backlog=512
"""

WITHOUT_SOCKET = """\
; Written by fleetops.continuity. Changes are lost.
[program:{agent}]
command={script} 1
"""

HELPER = """\
; Written by fleetops.continuity. Changes are lost.
[program:{name}]
command={command}
directory={root}
priority={priority}
autostart=true
autorestart=unexpected
exitcodes=0
startsecs=0
stopwaitsecs=10
redirect_stderr=true
stdout_logfile={log_file}
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=1
"""


@dataclass(frozen=True)
class Files:
    """Where supervisord's files of one root lie. ``reason`` says why the socket is not below the root."""

    root: str
    socket: str
    reason: str = ""

    @property
    def config(self) -> str:
        return os.path.join(self.root, "supervisor", "supervisord.conf")

    @property
    def programs(self) -> str:
        return os.path.join(self.root, "supervisor", "conf.d")

    @property
    def run(self) -> str:
        return os.path.join(self.root, "run")

    @property
    def log(self) -> str:
        return os.path.join(self.run, "supervisord.log")

    @property
    def pid(self) -> str:
        return os.path.join(self.run, "supervisord.pid")

    def program(self, name: str) -> str:
        return os.path.join(self.programs, f"{name}.conf")

    def credentials(self, agent: str) -> str:
        return os.path.join(self.run, "credentials", agent)


def files_of(root: str, socket: Optional[str] = None) -> Files:
    """The files below ``root``; the socket moves to a short folder when its path is too long to bind.

    The short folder depends on the root alone, so that every process of the host finds the same one.
    """
    root = os.path.abspath(root)
    wanted = socket or os.path.join(root, "run", "supervisor.sock")
    if len(os.fsencode(wanted)) <= LONGEST_SOCKET:
        return Files(root, wanted)
    if socket:
        raise ContinuityError(
            f"the path of supervisord's socket has {len(os.fsencode(socket))} bytes, {LONGEST_SOCKET} can be bound",
            where=socket,
            fix="Choose a shorter path for the setting socket",
        )
    short = f"/tmp/continuity-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}/supervisor.sock"
    reason = f"{wanted} has {len(os.fsencode(wanted))} bytes, a unix socket can be bound to {LONGEST_SOCKET}"
    return Files(root, short, reason)


def process_names(agent: str) -> tuple[str, str, str]:
    """How supervisord names what an agent may consist of: holder, worker, program without socket."""
    return f"{agent}:{agent}@{HOLDER}", f"{agent}:{agent}@{WORKER}", f"{agent}:{agent}"


def agent_of(process: str) -> str:
    """The agent to which a process (without its group) belongs."""
    return process.partition("@")[0]


def daemon(files: Files) -> str:
    """supervisord.conf."""
    if re.search(r"[*?\[]", files.root):
        raise ContinuityError(
            "supervisord reads *, ? and [ in a path as a pattern",
            where=files.root,
            fix="Choose another continuity_root",
        )
    return DAEMON.format(
        socket=_value(files.socket),
        log=_value(files.log),
        pid=_value(files.pid),
        run=_value(files.run),
        root=_value(files.root),
    )


def program(files: Files, unit: Unit) -> str:
    """conf.d/<Agent>.conf. supervisord can hand over one socket; an agent binds its further ones itself."""
    check_name(unit.agent)
    script = os.path.join(files.root, "agents", unit.agent, "blue", "units", unit.agent)
    common = COMMON.format(
        directory=_value(unit.directory),
        log_file=_value(unit.log_file),
        stop_seconds=max(1, math.ceil(unit.stop_seconds)),
    )
    if unit.user is not None:
        common += f"user={_value(unit.user)}\n"
    if unit.credentials:
        common += f'environment=CREDENTIALS_DIRECTORY="{_value(files.credentials(unit.agent))}"\n'
    if not unit.sockets:
        return WITHOUT_SOCKET.format(agent=unit.agent, script=_command([script])) + common
    if not re.fullmatch(r"[^\s:]+:\d+", unit.sockets[0]):
        raise ContinuityError(
            f"supervisord cannot bind {unit.sockets[0]!r}",
            where=unit.agent,
            fix="Write it as address:port (IPv4 or a name)",
        )
    return WITH_SOCKET.format(agent=unit.agent, script=_command([script]), socket=_value(unit.sockets[0])) + common


def helper(files: Files, name: str, argv: Sequence[str], *, priority: int = 10) -> str:
    """A program of our own: started again unless it ends with 0."""
    check_name(name)
    log_file = os.path.join(files.root, "logs", f"{name}.log")
    return HELPER.format(
        name=name, command=_command(argv), root=_value(files.root), log_file=_value(log_file), priority=priority
    )


def check_name(agent: str) -> None:
    """Refuse a name that supervisord's files, its protocol or its log could not carry."""
    if not agent or agent.startswith(".") or re.search(r"[\s:/\\%@\[\];#,\"'\x00-\x1f]", agent):
        raise ContinuityError(
            f"supervisord cannot carry the agent name {agent!r}",
            where=agent,
            fix="Rename the agent: no blanks, no / : % @ [ ] ; # , and no quotes",
        )


def _command(argv: Sequence[str]) -> str:
    return _value(" ".join(shlex.quote(word) for word in argv))


def _value(text: str) -> str:
    if re.search(r"[\x00-\x1f\"]|\s[;#]", text):
        raise ContinuityError(
            "supervisord's configuration cannot hold this text (line break, quote, or a blank before ; or #)",
            where=text,
            fix="Choose another path",
        )
    return text.replace("%", "%%")
