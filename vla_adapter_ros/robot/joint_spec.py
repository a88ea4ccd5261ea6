# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Joints and gripper of the robot contract: names, limits and units."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.robot.sections import Section


@dataclass(frozen=True)
class JointSpec:
    """One arm joint: positions in rad, velocity in rad/s, acceleration in rad/s².

    `name` is that of datasets and checkpoints; `driver_name` that of the driver's joint states and
    commands, '' if it is the same.
    """

    name: str
    lower: float
    upper: float
    max_velocity: float
    max_acceleration: float
    driver_name: str = ''


@dataclass(frozen=True)
class GripperSpec:
    """The gripper: driver units for open and closed, limits in open fractions.

    Attributes:
        name: in datasets and checkpoints.
        open_position: joint position when open, in the driver's state unit (m).
        closed_position: joint position when closed, in the driver's state unit (m).
        max_velocity: open fraction per second.
        max_acceleration: open fraction per second squared.
        grip_beyond_contact: how far [open fraction] beyond a contact it is commanded, for grippers
            that hold by position alone; 0: as far as the policy asks.
        driver_name: in the driver's joint states and commands; '' if it is the same.
    """

    name: str
    open_position: float
    closed_position: float
    max_velocity: float
    max_acceleration: float
    grip_beyond_contact: float = 0.0
    driver_name: str = ''

    def to_fraction(self, position: float) -> float:
        """Return the open fraction (1 = open) of a driver state position."""
        return (position - self.closed_position) / (self.open_position - self.closed_position)

    def to_position(self, fraction: float) -> float:
        """Return the driver state position of an open fraction, clipped to [0, 1]."""
        clipped = min(max(fraction, 0.0), 1.0)
        return self.closed_position + clipped * (self.open_position - self.closed_position)


def parse_joint(section: Section) -> JointSpec:
    """Validate plain data. Raises ContractError naming key, value and what is allowed."""
    lower = section.number('lower')
    joint = JointSpec(
        name=section.text('name'),
        lower=lower,
        upper=section.number('upper', above=lower),
        max_velocity=section.number('max_velocity', above=0.0),
        max_acceleration=section.number('max_acceleration', above=0.0),
        driver_name=section.text('driver_name', ''),
    )
    section.finish()
    return joint


def parse_gripper(section: Section) -> GripperSpec:
    """Validate plain data. Raises ContractError naming key, value and what is allowed."""
    gripper = GripperSpec(
        name=section.text('name'),
        open_position=section.number('open_position'),
        closed_position=section.number('closed_position'),
        max_velocity=section.number('max_velocity', above=0.0),
        max_acceleration=section.number('max_acceleration', above=0.0),
        grip_beyond_contact=section.number('grip_beyond_contact', 0.0, at_most=1.0),
        driver_name=section.text('driver_name', ''),
    )
    if gripper.grip_beyond_contact < 0.0:
        raise section.fail('grip_beyond_contact', 'expected an open fraction in [0, 1]')
    if gripper.open_position == gripper.closed_position:
        raise section.fail('closed_position', 'expected a value other than open_position')
    section.finish()
    return gripper
