# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The simulated cameras: their rate in simulated time, their intrinsics, and who can see them."""

from __future__ import annotations

import threading
import time

import mujoco
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='nodes/ needs ROS 2')

import rclpy
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from support.graph_client import RosClient
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.nodes.simulation.sim_arm_node import SimArmNode
from vla_adapter_ros.nodes.simulation.sim_cameras import CameraThread, camera_intrinsics
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.tasks import TaskOptions, make_task

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


@pytest.mark.parametrize('camera', ['third_person', 'wrist'])
def test_intrinsics_are_those_of_the_rendered_image(simulation, camera):
    # A ball on known rays: where its middle appears is where the intrinsics put it.
    model, data = simulation.model, simulation.data
    width, height, distance = 320, 240, 0.15
    intrinsics = camera_intrinsics(model, camera, width, height)
    matrix = np.array(intrinsics.camera_matrix).reshape(3, 3)
    mujoco.mj_forward(model, data)
    index = model.camera(camera).id
    optical = data.cam_xmat[index].reshape(3, 3) @ np.diag([1.0, -1.0, -1.0])
    address = model.joint('ball_0').qposadr[0]
    for direction in ([0.0, 0.0, 1.0], [0.2, 0.05, 1.0], [-0.1, -0.15, 1.0]):
        point = distance * np.array(direction)
        data.qpos[address : address + 3] = data.cam_xpos[index] + optical @ point
        mujoco.mj_forward(model, data)
        with_ball = simulation.render(camera, height, width).astype(int)
        data.qpos[address : address + 3] = 0.0, 0.0, -2.0
        mujoco.mj_forward(model, data)
        without = simulation.render(camera, height, width).astype(int)
        rows, columns = np.nonzero(np.abs(with_ball - without).sum(axis=2) > 10)
        expected = (matrix @ point / point[2])[:2]
        assert len(rows) > 300
        # A ball off the axis appears as an ellipse whose middle lies a little outwards.
        off_axis = np.linalg.norm(direction[:2])
        middle = [0.5 * (columns.min() + columns.max()), 0.5 * (rows.min() + rows.max())]
        np.testing.assert_allclose(middle, expected, atol=0.3 if off_axis == 0.0 else 1.0)


class Viewer(RosClient):
    """Subscribes as RViz does: reliable."""

    def __init__(self, environment: dict) -> None:
        super().__init__(environment, 'viewer')
        self.images: list[Image] = []
        self.infos: list[CameraInfo] = []
        self.objects: list[MarkerArray] = []
        subscribe = self.node.create_subscription
        subscribe(Image, 'wrist/image', self.images.append, 5)
        subscribe(CameraInfo, 'wrist/camera_info', self.infos.append, 5)
        subscribe(MarkerArray, 'objects', self.objects.append, 5)
        self.start()


def test_a_reliable_subscriber_sees_images_with_camera_info_and_objects():
    environment = isolated_environment()
    viewer = Viewer(environment)
    node = NodeProcess('sim_arm_node', {'robot': 'alicia_d_sim', 'camera_rate': 10.0}, environment)
    try:
        wait_until(lambda: len(viewer.images) > 5 and len(viewer.infos) > 5, 60, 'images')
        wait_until(lambda: viewer.objects, 20, 'objects')
        info = viewer.infos[3]
        wait_until(lambda: info.header in [m.header for m in viewer.images], 10, 'its image')
        assert (info.width, info.height) == (320, 240)
        assert info.header.frame_id == 'wrist_optical_frame'
        focal = 120.0 / np.tan(np.deg2rad(37.0))
        assert list(info.k) == pytest.approx([focal, 0, 159.5, 0, focal, 119.5, 0, 0, 1])
    finally:
        viewer.close()
        node.stop()


def pictures(level: str) -> tuple[np.ndarray, np.ndarray]:
    """Scene 3 of a level as it is rendered, and as the wrist camera shows it."""
    with ArmSimulation() as arm:
        make_task('tabletop', TaskOptions(level=level)).reset(arm, 3)
        rendered = arm.render('wrist', 240, 320)
        return rendered, arm.images.seen('wrist', rendered, 0.0)


def published(level: str) -> np.ndarray:
    """An image of `sim_arm`, of scene 3 at time 0: nobody spins it."""
    environment = isolated_environment()
    viewer = Viewer(environment)
    words = ['-p', 'robot:=alicia_d_sim', '-p', 'seed:=3', '-p', f'level:={level}']
    rclpy.init(args=['--ros-args', *words], domain_id=int(environment['ROS_DOMAIN_ID']))
    try:
        node = SimArmNode()
        try:
            (image, *_) = wait_until(lambda: viewer.images, 60, 'an image')
        finally:
            node.close()
            node.destroy_node()
    finally:
        rclpy.shutdown()
        viewer.close()
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)


def test_images_are_those_of_the_level_with_what_its_cameras_do():
    nominal, of_camera = pictures('nominal')
    np.testing.assert_array_equal(nominal, of_camera)
    np.testing.assert_array_equal(published('nominal'), nominal)
    rendered, of_camera = pictures('hard')
    seen = published('hard')
    np.testing.assert_array_equal(seen, of_camera)
    # The same scene in another light, from elsewhere; and then what lens and sensor do.
    for other in (nominal, rendered):
        assert np.abs(seen.astype(int) - other).mean() > 3.0
