#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: health_info
short_description: Ask the agents of a host for their health
version_added: 1.0.0
description:
  - Asks all agents of a host at once, over HTTP, ZeroMQ, TCP, by a command or by the age of a file, and returns no
    later than O(deadline).
  - What an agent answers is mapped to V(healthy), V(degraded), V(unhealthy) or V(unknown) by one table of words.
    Whether it is alive and whether it is ready are told apart.
  - Nothing is retried, no redirect is followed, no answer is read beyond 256 KiB.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  root:
    description:
      - The host root. The probes are those of its current release.
    type: path
  probes:
    description: Probes to use instead of those of a release.
    type: list
    elements: dict
    suboptions:
      agent:
        description: The agent that is asked.
        type: str
        required: true
      kind:
        description: How it is asked.
        type: str
        required: true
        choices: [http, zmq, tcp, command, file_age]
      target:
        description: C(host:port), or the path of the file for O(probes[].kind=file_age).
        type: str
        default: ""
      path:
        description: The path of the HTTP request.
        type: str
        default: /health
      request:
        description: What is sent to a ZeroMQ socket.
        type: str
        default: '{"action": "health_check"}'
      argv:
        description: The command for O(probes[].kind=command); exit status 0 is healthy unless its output says otherwise.
        type: list
        elements: str
        default: []
      max_age:
        description: The oldest acceptable file, in seconds.
        type: float
        default: 60.0
      timeout:
        description: Seconds for one answer.
        type: float
        default: 2.0
  agents:
    description: Ask only these.
    type: list
    elements: str
  deadline:
    description: Seconds for all answers together. An agent whose turn has not ended by then is V(unknown).
    type: float
    default: 5.0
seealso:
  - module: fleetops.continuity.rollout_gate
"""

EXAMPLES = r"""
- name: Ask all agents of the current release
  fleetops.continuity.health_info:
    root: /srv/fleet
  register: health

- name: Stop unless every agent takes work
  ansible.builtin.assert:
    that: health.agents.values() | rejectattr('ready') | length == 0

- name: Ask one agent that no release knows
  fleetops.continuity.health_info:
    probes:
      - agent: ServiceRegistry
        kind: zmq
        target: 127.0.0.1:8200
"""

RETURN = r"""
agents:
  description: The answer of each agent, by name.
  returned: success
  type: dict
  sample:
    ServiceRegistry:
      status: healthy
      alive: true
      ready: true
      word: ok
      seconds: 0.004
      errors: 0
      message: ""
  contains:
    status:
      description: V(healthy), V(degraded), V(unhealthy) or V(unknown).
      type: str
    alive:
      description: Whether something usable answered.
      type: bool
    ready:
      description: Whether it takes work.
      type: bool
    word:
      description: What it really said.
      type: str
    seconds:
      description: Its response time.
      type: float
    errors:
      description: Its own error counter; null when it reports none.
      type: int
    message:
      description: Why it is not healthy.
      type: str
counts:
  description: How many agents have each status.
  returned: success
  type: dict
  sample: {"healthy": 76, "degraded": 0, "unhealthy": 1, "unknown": 0}
release:
  description: The release whose probes were used; null for O(probes).
  returned: success
  type: str
  sample: r-0123456789ab
seconds:
  description: How long it took to ask all of them.
  returned: success
  type: float
  sample: 0.21
"""

from dataclasses import asdict
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import Probe
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.health.probes import NetworkProber
from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

STATUSES = ("healthy", "degraded", "unhealthy", "unknown")


def execute(call: Call) -> dict[str, Any]:
    release = None
    if call.params["root"] is not None:
        host = open_host(call.params["root"], runner=call.runner, clock=call.clock)
        release = host.ledger.state().current
        agents = host.releases.load(release).agents if release is not None else {}
        probes = {name: agent.probe for name, agent in agents.items()}
    else:
        probes = {given["agent"]: Probe(**{**given, "argv": tuple(given["argv"])}) for given in call.params["probes"]}
    wanted = list(probes) if call.params["agents"] is None else call.params["agents"]
    unknown = sorted(set(wanted) - set(probes))
    if unknown:
        raise ContinuityError(
            f"there is no probe for {', '.join(unknown)}",
            where=call.params["root"],
            fix=f"Choose from {', '.join(sorted(probes))}" if probes else "Roll out a release first",
        )
    begun = call.clock.monotonic()
    prober = NetworkProber(call.runner, call.clock)
    answers = prober.probe([probes[name] for name in wanted], deadline=call.params["deadline"])
    found = {name: asdict(answer) for name, answer in answers.items()}
    for answer in found.values():
        del answer["agent"]
    return {
        "changed": False,
        "agents": found,
        "counts": {status: sum(one["status"] == status for one in found.values()) for status in STATUSES},
        "release": release,
        "seconds": round(call.clock.monotonic() - begun, 3),
    }


def main() -> None:
    run_module(
        {
            "root": {"type": "path"},
            "probes": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "agent": {"type": "str", "required": True},
                    "kind": {
                        "type": "str",
                        "required": True,
                        "choices": ["http", "zmq", "tcp", "command", "file_age"],
                    },
                    "target": {"type": "str", "default": ""},
                    "path": {"type": "str", "default": "/health"},
                    "request": {"type": "str", "default": '{"action": "health_check"}'},
                    "argv": {"type": "list", "elements": "str", "default": []},
                    "max_age": {"type": "float", "default": 60.0},
                    "timeout": {"type": "float", "default": 2.0},
                },
            },
            "agents": {"type": "list", "elements": "str"},
            "deadline": {"type": "float", "default": 5.0},
        },
        execute,
        required_one_of=[("root", "probes")],
        mutually_exclusive=[("root", "probes")],
    )


if __name__ == "__main__":
    main()
