# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The simulated cameras keep their rate in simulated time, whatever happens to the scene."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip('rclpy', reason='nodes/ needs ROS 2')

from vla_adapter_ros.nodes.simulation.sim_cameras import CameraThread
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation

RATE = 30.0


@pytest.fixture
def simulation():
    simulation = ArmSimulation()
    yield simulation
    simulation.close()


class Scene:
    """Simulated time as `sim_arm` keeps it: what was before the scene, and since."""

    def __init__(self, simulation: ArmSimulation) -> None:
        self.lock = threading.Lock()
        self.before, self.since = 0.0, 0.0
        self.stamps: list[float] = []
        self.change_at = 1.0
        self.errors: list[str] = []
        self.cameras = CameraThread(
            simulation, self.lock, {'third_person': (32, 24)}, RATE, self._publish,
            lambda: self.before + self.since, self.errors.append, lockstep=True,
        )  # fmt: skip

    def run(self, seconds: float) -> None:
        """Let time pass as the simulation does: wait for pictures that are due."""
        patience = time.monotonic() + 20.0
        while time.monotonic() < patience:
            with self.lock:
                if self.before + self.since >= seconds:
                    return
                if not self.cameras.due():
                    self.since += 0.01
                    continue
            time.sleep(0.001)

    def _publish(self, camera: str, picture: object, stamp: float) -> None:
        self.stamps.append(stamp)
        if self.since > self.change_at:
            # Another scene begins just now: in between, time is not what it is.
            between = threading.Event()
            threading.Thread(target=self._change, args=[between]).start()
            assert between.wait(5.0)

    def _change(self, between: threading.Event) -> None:
        with self.lock:
            self.before += self.since
            between.set()
            time.sleep(0.05)
            self.since = 0.0


def test_pictures_go_on_at_once_after_a_change_of_the_scene(simulation):
    scene = Scene(simulation)
    try:
        scene.run(4.0)
    finally:
        scene.cameras.close()
    assert not scene.errors and scene.before > 3.0
    gaps = [b - a for a, b in zip(scene.stamps, scene.stamps[1:])]
    assert max(gaps) < 1.5 / RATE + 0.011
    assert len(scene.stamps) == pytest.approx(4.0 * RATE, rel=0.15)
