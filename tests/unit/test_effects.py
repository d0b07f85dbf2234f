# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine knows of the machine that it runs on."""

from __future__ import annotations

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import boot_id


def stat_of_init(started: int, name: str = "systemd") -> str:
    return f"1 ({name}) S 0 1 1 0 -1 4194560 9 9 9 9 1 1 1 1 20 0 1 0 {started} 1000 100 18446744073709551615\n"


def test_a_boot_is_named_by_the_kernel_and_the_start_of_the_first_process(tmp_path):
    kernel, init = tmp_path / "boot_id", tmp_path / "stat"
    kernel.write_text("0f5b\n")
    init.write_text(stat_of_init(120))
    first = boot_id(str(kernel), str(init))
    init.write_text(stat_of_init(120, name="in) it"))
    assert boot_id(str(kernel), str(init)) == first
    init.write_text(stat_of_init(98765))
    assert boot_id(str(kernel), str(init)) != first, "a container was booted again under the same kernel"


def test_where_the_first_process_is_hidden_the_kernel_alone_names_the_boot(tmp_path):
    kernel = tmp_path / "boot_id"
    kernel.write_text("0f5b\n")
    assert boot_id(str(kernel), str(tmp_path / "hidden")) == "0f5b"


def test_this_boot_has_one_name():
    assert boot_id() == boot_id()
