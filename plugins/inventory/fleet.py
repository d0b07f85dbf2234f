# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Inventory from the startup configs of a fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: Hosts from the startup configs of a fleet
version_added: 1.0.0
description:
  - Reads one startup config for each host and makes the hosts, their groups and their variables.
  - Every host is in the group C(fleet), and in C(agent_group_<name>) for each group of agents that it runs.
  - Refuses, naming all of them with file and line, when there are critical problems in the configs.
  - The source is a YAML file whose name ends in C(fleet.yml) or C(fleet.yaml).
  - Needs nothing but the files of a project checkout, asks nothing, and so also serves as an inventory source of AWX.
author:
  - fleetops.continuity developers (@fleetops)
requirements:
  - PyYAML
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
notes:
  - >-
    Ansible by default only warns when no plugin can read an inventory source, and goes on without its hosts.
    Set E(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED) to stop there instead.
  - A cached inventory is used until it expires or C(--flush-cache) is given, even when a startup config has changed.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [fleetops.continuity.fleet]
  configs:
    description:
      - The name of each host with the path of its startup config on the controller.
      - A relative path is relative to the inventory source.
    type: dict
    required: true
  values:
    description: Values for expressions in the configs, such as C(${PORT_OFFSET}+7100). Also set as C(continuity_values).
    type: dict
    default: {}
  hosts:
    description:
      - Variables of single hosts, such as C(ansible_host).
      - They have the last word over what the startup config says. A host that is not in O(configs) is an error.
    type: dict
    default: {}
seealso:
  - module: fleetops.continuity.fleet_info
"""

EXAMPLES = r"""
# mainpc-pc2.fleet.yml
plugin: fleetops.continuity.fleet
configs:
  mainpc: config/mainpc/startup_config.yaml
  pc2: config/pc2/startup_config.yaml
values:
  PORT_OFFSET: "0"
hosts:
  mainpc:
    ansible_host: 192.0.2.10
  pc2:
    ansible_host: 192.0.2.20

# with groups and variables of your own
# plugin: fleetops.continuity.fleet
# configs:
#   mainpc: config/mainpc/startup_config.yaml
#   pc2: config/pc2/startup_config.yaml
# groups:
#   large: fleet_agents | length > 40
# compose:
#   continuity_root: "'/srv/fleet/' ~ continuity_host"
# keyed_groups:
#   - prefix: python
#     key: continuity_python | default('unknown')
"""

import os
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.document import problem_line
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Hosts, groups and host variables of a fleet."""

    NAME = "fleetops.continuity.fleet"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("fleet.yml", "fleet.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        key = self.get_cache_key(path)
        wanted = self.get_option("cache")
        if wanted and cache and key in self._cache:
            hosts = self._cache[key]
        else:
            hosts = self._hosts(path)
            if wanted:
                self._cache[key] = hosts
        self._populate(hosts)

    def _hosts(self, path: str) -> dict[str, Any]:
        """``{host: {"variables": {...}, "agent_groups": [...]}}``, or an error that names every problem."""
        configs = {str(host): self._absolute(path, str(config)) for host, config in self.get_option("configs").items()}
        values = {str(name): str(value) for name, value in self.get_option("values").items()}
        stray = sorted(set(map(str, self.get_option("hosts"))) - set(configs))
        if stray:
            raise AnsibleParserError(f"{path}: hosts names {', '.join(stray)}, for which configs has no startup config")
        try:
            fleet = load_fleet(list(configs.items()), values=values)
        except ContinuityError as error:
            raise AnsibleParserError(str(error)) from error
        self._refuse_critical(fleet)
        found: dict[str, Any] = {}
        for host in fleet.hosts:
            variables: dict[str, Any] = {
                "continuity_host": host.host,
                "continuity_startup_config": host.file,
                "fleet_agents": [agent.name for agent in host.agents],
            }
            if values:
                variables["continuity_values"] = values
            groups = sorted({agent.group for agent in host.agents if agent.group})
            found[host.host] = {"variables": variables, "agent_groups": groups}
        return found

    def _refuse_critical(self, fleet: Fleet) -> None:
        critical = [problem_line(problem) for problem in fleet.problems if problem.severity == "critical"]
        if critical:
            lines = "\n".join(f"  {line}" for line in critical)
            raise AnsibleParserError(f"{len(critical)} critical problems in the startup configs:\n{lines}")
        for problem in fleet.problems:
            if problem.severity == "warning":
                self.display.vv(f"{problem_line(problem)}")

    @staticmethod
    def _absolute(path: str, config: str) -> str:
        return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(path)), os.path.expanduser(config)))

    def _populate(self, hosts: dict[str, Any]) -> None:
        strict = self.get_option("strict")
        self.inventory.add_group("fleet")
        for host, found in hosts.items():
            self.inventory.add_host(host, group="fleet")
            for group in found["agent_groups"]:
                name = self.inventory.add_group(self._sanitize_group_name(f"agent_group_{group}"))
                self.inventory.add_host(host, group=name)
            variables = {**found["variables"], **(self.get_option("hosts").get(host) or {})}
            for name, value in variables.items():
                self.inventory.set_variable(host, name, value)
            self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
            everything = self.inventory.get_host(host).get_vars()
            self._add_host_to_composed_groups(self.get_option("groups"), everything, host, strict=strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), everything, host, strict=strict)
