#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_states_info
short_description: Tell the state and the configuration of every agent of a host
version_added: 1.0.0
description:
  - Tells of every agent of a host what its startup config declares, which release it runs, how its process and its
    health are, and of the host what it is and which settings its agents share.
  - Values of environment variables, of settings that are named like a secret, and credentials in addresses are not
    shown.
  - The parts of all hosts together are what M(fleetops.continuity.backup) keeps as C(agent_states_<date>.json).
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
      - The host root of the fleet on this host. One on which no release was ever staged has no agents.
    type: path
    required: true
  host:
    description:
      - The host's name in the fleet.
      - Defaults to the name in C(host.json) in O(root), else to the machine's own name.
    type: str
seealso:
  - module: fleetops.continuity.backup
"""

EXAMPLES = r"""
- name: Ask the host for the states of its agents
  fleetops.continuity.agent_states_info:
    root: /srv/fleet
  register: asked

- name: Show the agents that do not run
  ansible.builtin.debug:
    msg: "{{ asked.states.agents | dict2items | rejectattr('value.state.process', 'eq', 'running') | map(attribute='key') }}"
"""

RETURN = r"""
host:
  description: The host's name in the fleet.
  returned: success
  type: str
  sample: pc2
states:
  description: The host's part of the document.
  returned: success
  type: dict
  contains:
    taken:
      description: When it was asked (ISO 8601, UTC).
      type: str
      sample: "2026-01-31T02:00:00.000000Z"
    root:
      description: The host root.
      type: str
      sample: /srv/fleet
    system:
      description: Name, kernel, architecture, number of processors, memory in bytes, version of Python.
      type: dict
      sample: {"name": "pc2", "architecture": "x86_64", "processors": 8}
    error:
      description: Why nothing can be said of the agents of a host that should have some; else empty.
      type: str
      sample: ""
    address:
      description: The address on which the agents listen, or null.
      type: str
      sample: 192.0.2.20
    release:
      description: The current and the previous release, what is quarantined, what is unfinished; null without agents.
      type: dict
      sample: {"current": "r-42", "previous": "r-41", "quarantined": [], "unfinished": null}
    settings:
      description: What the startup config says beside agents.
      type: dict
      sample: {"global_settings": {"health_checks": {"interval_seconds": 30}}}
    agents:
      description: Of each agent its C(config), C(group), C(dependencies) and C(state).
      type: dict
      sample:
        Twin:
          config: {"script_path": "agents/twin.py", "port": 7101}
          group: core
          dependencies: [Base]
          state: {"process": "running", "health": "healthy", "release": "r-42", "restarts": 0}
"""

from ansible_collections.fleetops.continuity.plugins.module_utils.composition.agent_states import host_states
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.snapshots import host_name
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {"root": {"type": "path", "required": True}, "host": {"type": "str"}}


def execute(call: Call) -> dict:
    host = host_name(call.params["root"], call.params["host"])
    states = host_states(call.params["root"], host, call.runner, call.clock)
    if states["error"]:
        call.warn(f"the states of the agents cannot be told: {states['error']}")
    return {"changed": False, "host": host, "states": states}


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
