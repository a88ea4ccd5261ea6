# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How far beyond a contact a gripper is commanded, and its command when motion is resumed.

A servo gripper without force control presses with a force that grows with the distance between
its command and where the object stops it. Commanded to 0 around a thick object it presses with
all it has until the motor overheats; commanded to where it is it presses with nothing. The
contract's `grip_beyond_contact` is the distance to keep.
"""

from __future__ import annotations

from vla_adapter_ros.robot.contract import RobotContract

# A command this far below the measured opening is not reached yet, or never [open fraction].
_SHORT_OF = 0.03
# Measured openings differ by less than this while a gripper stands [open fraction] …
_STILL = 0.01
# … and it stands for this long before its object is a contact [s]; drivers answer 0.15 s late.
_STALL_S = 0.3
# A gripper was moved by someone else if it is measured this far from where it was left.
_MOVED = 0.03


class GripLimit:
    """Notices contacts while closing and bounds the command; without a contract value it is idle.

    Args:
        contract: `gripper.grip_beyond_contact` [open fraction]; 0: no bound.
    """

    def __init__(self, contract: RobotContract) -> None:
        self._beyond = contract.gripper.grip_beyond_contact
        self._standing: tuple[float, float] | None = None
        self._contact: float | None = None

    @property
    def lowest(self) -> float:
        """The lowest open fraction to command now; 0 without contact."""
        return 0.0 if self._contact is None else max(self._contact - self._beyond, 0.0)

    def restart(self, measured: float) -> None:
        """Motion is enabled again: a contact that the gripper has left meanwhile is none."""
        self._standing = None
        if self._contact is not None and abs(measured - self._contact) > _MOVED:
            self._contact = None

    def observe(self, measured: float, commanded: float, now: float) -> None:
        """Take a measured opening and what the motion asks for at the same time.

        Args:
            measured: open fraction.
            commanded: open fraction, not bounded by this limit.
            now: [s]; does not go back.
        """
        if not self._beyond:
            return
        if self._contact is not None:
            # A soft object gives way and a slow gripper goes on: the bound follows it inwards.
            opens = commanded >= self._contact
            self._contact = None if opens else min(self._contact, measured)
            self._standing = None
        elif commanded >= measured - _SHORT_OF:
            self._standing = None
        elif self._standing is None or abs(measured - self._standing[0]) > _STILL:
            self._standing = measured, now
        elif now - self._standing[1] >= _STALL_S:
            self._contact = measured


def resumed_opening(
    held: float, measured: float, left: float | None, beyond: float = 0.0
) -> float:
    """Return the gripper's command [open fraction] with which motion is resumed.

    The gripper may hold an object, and may have been moved by someone else since it was last
    commanded. It never opens, and it only closes by `beyond`.

    Args:
        held: last command.
        measured: opening now.
        left: opening that was measured when it was last commanded; None: not known.
        beyond: the contract's `grip_beyond_contact`.
    """
    if left is not None and abs(measured - left) <= _MOVED:
        return held
    return min(max(measured - beyond, 0.0), 1.0)
