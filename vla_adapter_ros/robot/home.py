# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Key `home` of a robot contract: the pose to which `~/home` moves the arm.

It is used on the robot only and not compared with that of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

from vla_adapter_ros.robot.sections import Section

KEY = 'home'


def parse_home(
    contract: Section, joints: Mapping[str, tuple[float, float]], gripper: str
) -> dict[str, float] | None:
    """Return the home pose by name, or None if a contract has none.

    It is written as a list in contract order (arm joints [rad], the gripper's open fraction), or
    as a mapping from names, in which the gripper may be left out: it then stays as it is.

    Args:
        contract: the section that may hold the key.
        joints: lower and upper limit [rad] of each arm joint.
        gripper: name of the gripper's joint.

    Raises:
        ContractError: a joint is missing or unknown, or a value is outside its limits.
    """
    if not contract.has(KEY):
        return None
    limits = {**joints, gripper: (0.0, 1.0)}
    if contract.is_list(KEY):
        home = dict(zip(limits, contract.numbers(KEY, length=len(limits)), strict=True))
    else:
        section = contract.required_section(KEY)
        home = {name: section.number(name) for name in joints}
        if section.has(gripper):
            home[gripper] = section.number(gripper)
        section.finish()
    for name, value in home.items():
        low, high = limits[name]
        if not low <= value <= high:
            raise contract.fail(KEY, f'expected {name} in [{low:g}, {high:g}]')
    return home
