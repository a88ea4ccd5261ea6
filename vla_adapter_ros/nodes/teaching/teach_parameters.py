# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The parameters of the teaching node."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.nodes.common.parameters import parameter

MODES = ('jog', 'leader', 'drag')


@dataclass(frozen=True)
class TeachParameters:
    """Parameters of `teach`."""

    robot: str = parameter(
        'alicia_d', 'Robot contract: the name of one that ships, or the path of a YAML file.'
    )
    mode: str = parameter(
        'jog', 'jog: keyboard or gamepad; leader: a leader arm; drag: the torque-free arm itself.',
        choices=MODES,
    )
    speed: float = parameter(
        0.3, 'Share of the contract\'s joint velocities.', low=0.01, high=1.0
    )
    instruction: str = parameter('', 'What is being taught; recorded with every episode.')
    tick_rate: float = parameter(20.0, 'Rate of new goals [Hz].', low=5.0, high=100.0)
    leader_names: str = parameter(
        '', 'Joints of the leader, comma-separated, gripper last; empty: as in the contract.'
    )
    leader_gripper_open: float = parameter(
        0.0, 'Leader\'s gripper joint when open; equal to closed: as in the contract.'
    )
    leader_gripper_closed: float = parameter(0.0, 'Leader\'s gripper joint when closed.')
    max_leader_age: float = parameter(
        0.3, 'A leader that is silent for longer lets go of the arm [s].', low=0.05, high=5.0
    )
    pad_deadman: int = parameter(4, 'Gamepad button that must be held.', low=0, high=31)
    pad_speed: float = parameter(
        0.08, 'Tool speed at full deflection [m/s].', low=0.005, high=0.5
    )
