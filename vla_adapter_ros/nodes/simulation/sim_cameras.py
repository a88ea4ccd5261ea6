# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The simulated cameras: a thread that renders beside the physics and publishes each image.

Rendering two 640×480 images on a CPU takes longer than a physics step may wait, and a GL
context belongs to one thread. So the thread copies the state under the lock (microseconds) and
renders from its copy; both cameras then show the same moment.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping

import mujoco
import numpy as np

from vla_adapter_ros.cameras.calibration import Intrinsics
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.rendering import OffscreenRenderer

# How often simulated time is looked at [s].
_POLL_PERIOD_S = 0.002


class CameraThread:
    """Renders every camera of a simulation at a rate, or as fast as the CPU gives.

    Args:
        simulation: to render.
        lock: held by whoever steps or resets the simulation.
        sizes: camera name → (width, height) [px].
        rate: of all cameras [Hz].
        publish: called in the thread with camera name, (H, W, 3) image, stamp in seconds.
        stamp: returns the time of the state, called under the lock (but for `due`).
        report: called with a line when rendering fails; the thread then ends.
        lockstep: count the rate in time of `stamp` (simulated), and let the simulation ask `due`
            whether it must wait; else in real time.
    """

    def __init__(
        self,
        simulation: ArmSimulation,
        lock: threading.Lock,
        sizes: Mapping[str, tuple[int, int]],
        rate: float,
        publish: Callable[[str, np.ndarray, float], None],
        stamp: Callable[[], float],
        report: Callable[[str], None],
        lockstep: bool = False,
    ) -> None:
        self._simulation = simulation
        self._lock = lock
        self._period = 1.0 / rate
        self._publish = publish
        self._stamp = stamp
        self._report = report
        self._lockstep = lockstep
        self._clock = stamp if lockstep else time.monotonic
        self._due = self._clock()
        self._stop = threading.Event()
        self._data = mujoco.MjData(simulation.model)
        self._images = {
            camera: np.empty((height, width, 3), np.uint8)
            for camera, (width, height) in sizes.items()
        }
        self.pairs_rendered = 0
        self._thread = threading.Thread(target=self._run, name='cameras', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and free its GL context."""
        self._stop.set()
        self._thread.join(5.0)

    def due(self) -> bool:
        """Return whether images of this moment are still to come (in lockstep)."""
        return self._thread.is_alive() and self._clock() >= self._due

    def _run(self) -> None:
        renderer = None
        try:
            renderer = OffscreenRenderer(self._simulation.model)
            self._loop(renderer)
        except Exception as error:
            # The arm must go on without cameras; the policy node then reports stale images.
            self._report(f'cameras stopped: {error}\n{traceback.format_exc(limit=3)}')
        finally:
            if renderer is not None:
                renderer.close()

    def _loop(self, renderer: OffscreenRenderer) -> None:
        while not self._stop.is_set():
            if (early := self._due - self._time()) > 0.0:
                self._stop.wait(_POLL_PERIOD_S if self._lockstep else early)
                continue
            with self._lock:
                stamp = self._stamp()
                mujoco.mj_copyData(self._data, self._simulation.model, self._simulation.data)
                effects = self._simulation.images
            for camera, pixels in self._images.items():
                renderer.render(self._data, camera, *pixels.shape[:2], pixels)
                self._publish(camera, effects.seen(camera, pixels, self._data.time), stamp)
            self.pairs_rendered += 1
            # A slow CPU drops images instead of falling ever further behind.
            self._due = max(self._due + self._period, self._time())

    def _time(self) -> float:
        """Return the time; whoever changes the scene changes its parts under the lock."""
        with self._lock:
            return self._clock()


def camera_intrinsics(model: mujoco.MjModel, camera: str, width: int, height: int) -> Intrinsics:
    """Return the exact intrinsics of a rendered image: square pixels, no distortion."""
    half = np.tan(0.5 * np.deg2rad(model.cam_fovy[model.camera(camera).id]))
    focal = 0.5 * height / float(half)
    # The axis meets the middle of the image: the corner between pixels where sides are even.
    return Intrinsics(
        width, height, focal, focal, 0.5 * (width - 1), 0.5 * (height - 1), (0.0,) * 5
    )
