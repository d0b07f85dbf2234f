#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_info
short_description: Read the startup configs of a fleet
version_added: 1.0.0
description:
  - Reads one startup config for each host of a fleet and returns its agents, their ports and dependencies,
    the layers in which they start, and everything that is wrong in the files.
  - Understands nested C(agent_groups), lists such as C(pc2_services), mappings of services, includes,
    profiles, and mixtures of them.
  - Values of C(config), of environment variables and of other settings are never returned.
author:
  - fleetops.continuity developers (@fleetops)
requirements:
  - PyYAML
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
  configs:
    description:
      - The name of each host in the fleet, with the path of its startup config on the machine where this module runs.
      - Where the configs lie on the controller, delegate the task to C(localhost).
    type: dict
    required: true
  values:
    description:
      - Values for expressions such as C(${PORT_OFFSET}+7100).
      - A variable that has neither a value here nor a default of its own stays unresolved. It is never guessed.
    type: dict
    default: {}
seealso:
  - plugin: fleetops.continuity.fleet
    plugin_type: inventory
  - module: fleetops.continuity.fleet_audit
"""

EXAMPLES = r"""
- name: Read the fleet from the controller
  fleetops.continuity.fleet_info:
    configs:
      mainpc: config/mainpc/startup_config.yaml
      pc2: config/pc2/startup_config.yaml
    values:
      PORT_OFFSET: "0"
  delegate_to: localhost
  run_once: true
  register: fleet

- name: Stop when a startup config cannot be trusted
  ansible.builtin.assert:
    that: fleet.problems | selectattr('severity', 'equalto', 'critical') | length == 0
    fail_msg: "{{ fleet.problems | map(attribute='message') | join('\n') }}"

- name: Show how far a failure of the registry would reach
  ansible.builtin.debug:
    msg: "{{ (fleet.agents | selectattr('id', 'equalto', 'mainpc:ServiceRegistry') | first).dependants }}"
"""

RETURN = r"""
hosts:
  description: The hosts, in the order of O(configs).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The host's name in the fleet.
      type: str
      sample: pc2
    file:
      description: Its startup config.
      type: str
      sample: config/pc2/startup_config.yaml
    agents:
      description: The names of its agents, in the order of the file.
      type: list
      elements: str
      sample: [MemoryOrchestratorService, TieredResponder]
    groups:
      description: The groups, or lists, in which its agents stand.
      type: list
      elements: str
      sample: [pc2_services]
    ports:
      description: Ports that the config declares for the host itself.
      type: list
      elements: dict
      sample: [{"key": "error_bus_port", "port": 7150, "listens": true, "line": 306}]
    environment_names:
      description: Names of the environment variables of all its agents.
      type: list
      elements: str
      sample: [LOG_LEVEL, PYTHONPATH]
    resource_limits:
      description: The limits as declared.
      type: dict
      sample: {"cpu_percent": 80, "memory_mb": 4096}
    health_checks:
      description: The settings of health checks as declared.
      type: dict
      sample: {"interval_seconds": 30, "retries": 3}
agents:
  description: All agents, host by host in the order of O(configs), in the order of the files.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Host and name; a name alone may stand on several hosts.
      type: str
      sample: pc2:TieredResponder
    host:
      description: The host's name in the fleet.
      type: str
      sample: pc2
    name:
      description: The agent's name.
      type: str
      sample: TieredResponder
    group:
      description: The group, or the list, in which it stands.
      type: str
      sample: pc2_services
    script_path:
      description: The script that it runs, relative to the project; empty when the config names none.
      type: str
      sample: pc2_code/agents/tiered_responder.py
    port:
      description: Its port; null when it has none, or one that cannot be resolved.
      type: int
      sample: 7100
    health_check_port:
      description: The port of its health check; null when it has none, or one that cannot be resolved.
      type: int
      sample: 8100
    other_ports:
      description: Ports inside of its C(config). RV(agents[].other_ports[].listens) is false for ports of others.
      type: list
      elements: dict
      sample: [{"key": "config.redis.port", "port": 6379, "listens": false, "line": 58}]
      contains:
        key:
          description: Where it stands, in dots.
          type: str
        port:
          description: The number; null when it cannot be resolved.
          type: int
        listens:
          description: Whether the agent itself opens it.
          type: bool
        line:
          description: The line in the agent's file.
          type: int
    required:
      description: Whether the fleet needs it; null when the config does not say, or says it in an unresolved expression.
      type: bool
      sample: true
    enabled:
      description: False where the config says so.
      type: bool
      sample: true
    bind_host:
      description: The address that it binds, where the config names one.
      type: str
      sample: 0.0.0.0
    dependencies:
      description: The names as declared.
      type: list
      elements: str
      sample: [ResourceManager]
    resolved_dependencies:
      description: The agents that are meant, on the agent's own host before others.
      type: list
      elements: str
      sample: [pc2:ResourceManager]
    dependants:
      description: How many agents depend on it, directly or not.
      type: int
      sample: 4
    layer:
      description: Its place in the start order, from 0, dependencies first.
      type: int
      sample: 2
    environment_names:
      description: Names of its own environment variables.
      type: list
      elements: str
      sample: []
    file:
      description: The file that declares it.
      type: str
      sample: config/pc2/startup_config.yaml
    line:
      description: The line on which it is declared.
      type: int
      sample: 17
layers:
  description: The start order. What an agent needs lies in an earlier layer, or in the same one with it in a cycle.
  returned: success
  type: list
  elements: list
  sample: [["mainpc:ServiceRegistry", "pc2:ObservabilityHub"], ["mainpc:SystemDigitalTwin"]]
cycles:
  description: Agents that need each other in a circle.
  returned: success
  type: list
  elements: list
  sample: [["mainpc:StreamingTTSAgent", "mainpc:TTSService"]]
unknown_dependencies:
  description: Dependencies that name no agent of the fleet.
  returned: success
  type: list
  elements: dict
  sample: [{"agent": "pc2:A", "dependency": "B", "location": "config/pc2/startup_config.yaml:17"}]
problems:
  description: Everything that is wrong in the files, by host, file and line.
  returned: success
  type: list
  elements: dict
  contains:
    rule:
      description: The rule, as in M(fleetops.continuity.fleet_audit).
      type: str
      sample: G-duplicate-key
    severity:
      description: One of V(critical), V(warning), V(info).
      type: str
      sample: critical
    host:
      description: The host whose config it is.
      type: str
      sample: mainpc
    agent:
      description: The agent concerned, if it is one agent.
      type: str
      sample: ServiceRegistry
    file:
      description: The file.
      type: str
      sample: config/mainpc/startup_config.yaml
    line:
      description: The line.
      type: int
      sample: 37
    message:
      description: What is wrong, in one sentence.
      type: str
      sample: "key 'ServiceRegistry' already stands at line 12; YAML would keep only this one (line 37) without a word"
    expected:
      description: What was expected.
      type: str
      sample: each key once
    found:
      description: What stood there.
      type: str
      sample: lines 12 and 37
    key:
      description: The key concerned, in dots.
      type: str
      sample: agent_groups.core_services.ServiceRegistry
"""

from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.document import to_document
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module


def execute(call: Call) -> dict[str, Any]:
    configs = [(str(host), str(path)) for host, path in call.params["configs"].items()]
    values = {str(name): str(value) for name, value in call.params["values"].items()}
    return to_document(load_fleet(configs, values=values))


def main() -> None:
    run_module(
        {
            "configs": {"type": "dict", "required": True},
            "values": {"type": "dict", "default": {}},
        },
        execute,
    )


if __name__ == "__main__":
    main()
