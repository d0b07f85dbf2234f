# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What supervisors read and write, as text."""

from __future__ import annotations

import configparser
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock, Unit
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors import supervisord_config, systemd_units
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors.supervisord_log import Exits
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors.systemd import SystemdSupervisor
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner

UNIT = Unit("Api", "/srv/fl eet/state/Api", "/srv/fl eet/logs/Api.log", ("127.0.0.1:7100", "127.0.0.1:8100"))
FILES = supervisord_config.files_of("/srv/fl eet 100%")


def section(text: str) -> tuple[str, dict[str, str]]:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    (name,) = parser.sections()
    return name, dict(parser[name])


def test_supervisord_program_with_socket():
    name, options = section(supervisord_config.program(FILES, replace(UNIT, stop_seconds=7.2)))
    assert name == "fcgi-program:Api"
    assert options["socket"] == "tcp://127.0.0.1:7100"
    assert (options["numprocs"], options["socket_backlog"], options["stopwaitsecs"]) == ("2", "512", "8")
    command = options["command"] % {"process_num": 1}
    assert shlex.split(command) == ["/srv/fl eet 100%/agents/Api/blue/units/Api", "1"]
    assert options["process_name"] % {"program_name": "Api", "process_num": 0} == "Api@0"
    assert options["stdout_logfile"] == "/srv/fl eet/logs/Api.log"


def test_supervisord_program_without_socket_with_credentials():
    unit = replace(UNIT, sockets=(), credentials={"token": "/etc/token"}, user="agents")
    name, options = section(supervisord_config.program(FILES, unit))
    assert name == "program:Api"
    assert shlex.split(options["command"] % {})[-1] == "1"
    assert options["environment"] == 'CREDENTIALS_DIRECTORY="/srv/fl eet 100%%/run/credentials/Api"'
    assert options["user"] == "agents"


@pytest.mark.parametrize("socket", ["[::1]:7100", "7100", "/run/a.sock", "a b:1"])
def test_supervisord_refuses_a_socket_that_it_cannot_bind(socket):
    with pytest.raises(ContinuityError, match="cannot bind"):
        supervisord_config.program(FILES, replace(UNIT, sockets=(socket,)))


@pytest.mark.parametrize("root", ["/srv/a ;b", "/srv/a #b", "/srv/a\nb", '/srv/a"b', "/srv/a*", "/srv/[a]"])
def test_supervisord_refuses_a_root_that_its_files_cannot_hold(root):
    with pytest.raises(ContinuityError):
        supervisord_config.daemon(supervisord_config.files_of(root))


def test_socket_path_falls_back_to_a_short_one_that_depends_on_the_root_alone():
    short = supervisord_config.files_of("/srv/" + "a" * 70)
    assert short.socket.startswith("/srv/") and short.reason == ""
    one, same, other = (supervisord_config.files_of("/srv/" + letter * 90) for letter in "aab")
    assert one.socket == same.socket != other.socket
    assert len(one.socket) <= supervisord_config.LONGEST_SOCKET
    assert "can be bound to 98" in one.reason
    with pytest.raises(ContinuityError, match="can be bound"):
        supervisord_config.files_of("/srv", "/tmp/" + "s" * 100)


def test_systemd_agent_with_sockets():
    unit = replace(UNIT, user="agents", credentials={"token": "/etc/token"}, stop_seconds=12.5, overlap=True)
    files = systemd_units.render_agent("/srv/fl eet", unit, hardening=True)
    assert set(files) == {"agent-Api.socket", "agent-Api@.service"}
    socket, service = files["agent-Api.socket"], files["agent-Api@.service"]
    assert "ListenStream=127.0.0.1:7100\nListenStream=127.0.0.1:8100\n" in socket
    assert "Service=agent-Api@blue.service" in socket
    for line in (
        "Type=notify",
        'ExecStart="/srv/fl eet/agents/Api/%i/units/Api" 1 %i',
        "Sockets=agent-Api.socket",
        "User=agents",
        "LoadCredential=token:/etc/token",
        "TimeoutStopSec=13",
        "StartLimitIntervalSec=0",
        "After=network.target continuity-boot-check.service",
        "StandardOutput=append:/srv/fl eet/logs/Api.log",
        "NoNewPrivileges=yes",
    ):
        assert f"\n{line}\n" in service, line
    assert systemd_units.owner(service) == ("/srv/fl eet", "Api")
    assert systemd_units.overlaps(service)


def test_systemd_agent_without_sockets_and_hardening():
    files = systemd_units.render_agent("/srv/fleet", replace(UNIT, sockets=()), hardening=False)
    (service,) = files.values()
    assert "\nType=exec\n" in service
    assert "Sockets=" not in service and "NoNewPrivileges" not in service
    assert not systemd_units.overlaps(service)


def test_systemd_target_wants_every_agent_and_the_boot_check_comes_before():
    files = systemd_units.render_common(
        "/srv/fleet", "/usr/bin/python3", [UNIT, replace(UNIT, agent="Web", sockets=())]
    )
    target = files["continuity-agents.target"]
    assert "\nWants=agent-Api.socket agent-Api@blue.service\nWants=agent-Web@blue.service\n" in target
    boot_check = files["continuity-boot-check.service"]
    assert "\nBefore=continuity-agents.target\n" in boot_check
    assert '"/srv/fleet/continuity.pyz" "boot-check" "--root" "/srv/fleet"' in boot_check


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_unit_names_are_valid_and_tell_agents_apart(one, other):
    def name(agent: str) -> str:
        systemd_units.check_name(agent)
        return systemd_units.socket_unit(agent)

    try:
        first, second = name(one), name(other)
    except (ContinuityError, UnicodeEncodeError):
        return
    assert (first == second) == (one == other)
    assert set(first) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.")


def test_systemd_render_is_pure_where_hardening_is_decided(tmp_path):
    supervisor = SystemdSupervisor(
        str(tmp_path),
        LocalRunner(),
        SystemClock(),
        settings={"hardening": False, "unit_directory": str(tmp_path / "u")},
    )
    assert supervisor.render([UNIT]) == supervisor.render([UNIT])
    assert not (tmp_path / "u").exists()
    with pytest.raises(ContinuityError, match="cannot be the name"):
        supervisor.render([replace(UNIT, agent="../a")])


def test_exits_are_counted_once_by_exact_name_over_rotated_logs(tmp_path):
    log = tmp_path / "supervisord.log"

    def line(text: str) -> str:
        return f"2026-01-01 00:00:00,000 WARN {text}\n"

    Path(f"{log}.1").write_text(line("exited: Api (exit status 1; not expected)"))
    log.write_text(
        line("exited: Api (terminated by SIGKILL; not expected)")
        + line("stopped: Api (exit status 0)")
        + line("exited: Api@1 (exit status 0; expected)")
        + line("spawned: 'exited: Api (' with pid 1")
        + "2026-01-01 00:00:00,000 WARN exited: Api (torn"
    )
    exits = Exits(str(log))
    assert exits.counts() == {"Api": 2, "Api@1": 1}
    with log.open("a") as stream:
        stream.write("; not expected)\n" + line("exited: Api (exit status 2; not expected)"))
    assert exits.counts() == {"Api": 4, "Api@1": 1}
    log.rename(f"{log}.2")
    assert exits.counts() == {"Api": 4, "Api@1": 1}
    log.write_text(line("exited: Api (exit status 2; not expected)"))
    assert exits.counts() == {"Api": 5, "Api@1": 1}
