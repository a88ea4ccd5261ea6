# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""MuJoCo's own window on the simulated arm, to look around in with the mouse."""

from __future__ import annotations

import time
from collections.abc import Callable

from vla_adapter_ros.simulation.arm_simulation import ArmSimulation

_PERIOD_S = 1.0 / 30.0


class SimWindow:
    """A passive window: it shows the simulation and never changes it.

    Without a display, or when a person closes the window, the simulation goes on.

    Args:
        simulation: to show.
        report: receives a line if there can be no window.
    """

    def __init__(self, simulation: ArmSimulation, report: Callable[[str], object]) -> None:
        self._due = 0.0
        self._handle = None
        try:
            from mujoco import viewer

            self._handle = viewer.launch_passive(
                simulation.model, simulation.data, show_left_ui=False, show_right_ui=False
            )
        except Exception as error:  # GLFW raises its own kinds
            report(f'no window: {error}')

    def show(self) -> None:
        """Show the present state, if it is time; call while nobody steps the simulation."""
        now = time.monotonic()
        if self._handle is None or now < self._due:
            return
        self._due = now + _PERIOD_S
        if self._handle.is_running():
            self._handle.sync()
        else:
            self.close()

    def close(self) -> None:
        """Close the window."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None
