# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A robot on the ROS graph whose topics a recorder records."""

from __future__ import annotations

import time
from array import array

from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from support.data_samples import HEIGHT, WIDTH, contract, image
from support.graph_client import RosClient
from support.ros_harness import wait_until


class RecordedRobot(RosClient):
    """Cameras at 30 Hz, joints at 60 Hz, and the services of the recorder."""

    def __init__(self, environment):
        super().__init__(environment, 'robot')
        node = self.node
        self.images = {
            c: node.create_publisher(Image, f'{c}/image', 1) for c in contract().cameras
        }
        self.info = node.create_publisher(CameraInfo, 'wrist/camera_info', 1)
        self.joints = node.create_publisher(JointState, 'joint_states', 10)
        self.arm = node.create_publisher(JointTrajectory, contract().front_end.arm_topic, 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.text = node.create_publisher(String, 'vla_adapter/instruction', latched)
        self.frame, self.running = 0, True
        node.create_timer(1 / 30, self.tick)
        self.start()

    def tick(self):
        if not self.running:
            return
        for shift, publisher in enumerate(self.images.values()):
            message = Image(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH)
            message.header.stamp = self.node.get_clock().now().to_msg()
            message.data = array('B', image(shift, self.frame).tobytes())
            publisher.publish(message)
        self.info.publish(CameraInfo(header=message.header, width=WIDTH, height=HEIGHT))
        for _ in range(2):
            state = JointState(name=list(contract().names))
            state.header.stamp = self.node.get_clock().now().to_msg()
            # Servos flicker by a count; an arm whose states stay bit-equal is refused as frozen.
            flicker = 1.5e-3 * (self.frame % 7)
            state.position = array('d', [0.1 + flicker] * 6 + [0.0])
            self.joints.publish(state)
        self.frame += 1

    def command(self):
        point = JointTrajectoryPoint(positions=[1.0] * 6)
        point.time_from_start.sec = 1
        names = list(contract().joint_names)
        self.arm.publish(JointTrajectory(joint_names=names, points=[point]))

    def ask(self, name):
        return self.call(Trigger, f'recorder/{name}', Trigger.Request())

    def frames_later(self, count):
        goal = self.frame + count
        wait_until(lambda: self.frame >= goal, 30.0, f'{count} frames')


def start_recording(robot):
    """Call start until the node has seen every topic."""
    end = time.monotonic() + 20
    while not (answer := robot.ask('start')).success:
        assert time.monotonic() < end, answer.message
        time.sleep(0.1)
    return answer
