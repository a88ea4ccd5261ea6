# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Nodes in the test's own process, in a domain of their own: the user, cameras and driver."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from array import array
from collections.abc import Callable

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory
from vla_adapter_ros.msg import ActionChunk, PolicyStatus
from vla_adapter_ros.srv import SetInstruction

from support.ros_harness import stop_at_end_of_module, wait_until
from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED, LATEST

# A first request without an answer for so long is sent again [s].
_SILENT = 5.0


class RosClient:
    """A node that spins from `start` to `close`; subclasses subscribe before they start it."""

    def __init__(self, environment: dict, name: str):
        os.environ.update({k: v for k, v in environment.items() if k.startswith('FAST')})
        self.context = Context()
        rclpy.init(context=self.context, domain_id=int(environment['ROS_DOMAIN_ID']))
        self.node = rclpy.create_node(name, context=self.context)
        self._clients: dict[str, object] = {}
        self._closing = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        stop_at_end_of_module(self.close)

    def start(self) -> None:
        self._thread.start()

    def _spin(self) -> None:
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self.node)
        with contextlib.suppress(ExternalShutdownException):
            while not self._closing.is_set():
                executor.spin_once(timeout_sec=0.05)
                while not self._jobs.empty():
                    self._jobs.get()()

    def in_thread(self, job: Callable[[], object]) -> None:
        """Have something done by the thread that spins.

        Destroyed by another one, an entity that is waited for ends this thread (InvalidHandle).
        """
        done = threading.Event()
        self._jobs.put(lambda: (job(), done.set()))
        assert done.wait(20.0), 'the thread of the client does not spin'

    def close(self) -> None:
        if self._closing.is_set():
            return
        # The thread first: a callback must not find its publishers gone.
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self.context.shutdown()

    def call(self, kind, name: str, request, seconds: float = 20.0):
        """Return the answer of a service.

        The answer to a first request can be lost (seen with rmw_fastrtps on a busy machine, where
        the server may not know this client yet). It is sent again when nothing comes back.
        """
        client = self._clients.get(name)
        if first := client is None:
            client = self._clients[name] = self.node.create_client(kind, name)
        assert client.wait_for_service(seconds), f'no service {name}'
        requests = [client.call_async(request)]
        sent = time.monotonic()

        def answered():
            nonlocal sent
            if first and time.monotonic() > sent + _SILENT:
                requests.append(client.call_async(request))
                sent = time.monotonic()
            return next((r for r in requests if r.done()), None)

        return wait_until(answered, seconds, f'answer of {name}').result()

    def set_parameter(self, node: str, name: str, value) -> tuple[bool, str]:
        """Return whether a node took a parameter, and why not."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        result = self.call(SetParameters, f'/{node}/set_parameters', request).results[0]
        return result.successful, result.reason


ARM_TOPIC = '/Alicia_controller/joint_trajectory'
GRIPPER_TOPIC = '/Gripper_controller/joint_trajectory'
NAMES = [*(f'Joint{i}' for i in range(1, 7)), 'Gripper']
NODE = 'vla_adapter'


class GraphClient(RosClient):
    """Listens to everything, calls services, and can play cameras and driver."""

    bench: Bench | None = None

    def __init__(self, environment: dict):
        super().__init__(environment, 'user')
        self.states: list[tuple[float, JointState]] = []
        self.arm: list[tuple[float, JointTrajectory]] = []
        self.gripper: list[tuple[float, JointTrajectory]] = []
        self.chunks: list[ActionChunk] = []
        self.statuses: list[PolicyStatus] = []
        self.instructions: list[str] = []
        self.diagnostics: list[DiagnosticArray] = []
        self._listen()
        self._publishers: dict[str, object] = {}
        self.start()

    def _listen(self):
        def keep(into):
            return lambda message: into.append((time.monotonic(), message))

        create = self.node.create_subscription
        create(JointState, 'joint_states', keep(self.states), 100)
        create(JointTrajectory, ARM_TOPIC, keep(self.arm), EVERY)
        create(JointTrajectory, GRIPPER_TOPIC, keep(self.gripper), EVERY)
        create(ActionChunk, f'{NODE}/action_chunk', self.chunks.append, EVERY)
        create(PolicyStatus, f'{NODE}/status', self.statuses.append, LATCHED)
        create(String, f'{NODE}/instruction', lambda m: self.instructions.append(m.data), LATCHED)
        create(DiagnosticArray, '/diagnostics', self.diagnostics.append, EVERY)

    def close(self):
        if self.bench is not None and not self._closing.is_set():
            self.bench.close()
        super().close()

    def change_state(self, transition: int, seconds=60.0) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, f'{NODE}/change_state', request, seconds).success

    def configure(self) -> bool:
        self.wait_for_node()
        return self.change_state(Transition.TRANSITION_CONFIGURE)

    def activate(self) -> bool:
        return self.change_state(Transition.TRANSITION_ACTIVATE)

    def deactivate(self) -> bool:
        return self.change_state(Transition.TRANSITION_DEACTIVATE)

    def wait_for_node(self, seconds=60.0):
        """Wait until the node answers; one that was killed is still announced for a while."""
        # Made before get_state: discovery keeps this order, so that once get_state is answered the
        # answer of change_state cannot be lost.
        name = f'{NODE}/change_state'
        self._clients = {name: self.node.create_client(ChangeState, name)}
        client = self.node.create_client(GetState, f'{NODE}/get_state')

        def answers():
            if not client.wait_for_service(1.0):
                return False
            future = client.call_async(GetState.Request())
            with contextlib.suppress(AssertionError):
                wait_until(future.done, 1.0, 'an answer')
            return future.done()

        wait_until(answers, seconds, f'{NODE} to answer')

    def lifecycle_state(self) -> str:
        return self.call(GetState, f'{NODE}/get_state', GetState.Request()).current_state.label

    def set_instruction(self, text: str):
        request = SetInstruction.Request(instruction=text)
        return self.call(SetInstruction, 'set_instruction', request)

    def enable(self, on: bool = True):
        return self.call(SetBool, f'{NODE}/enable', SetBool.Request(data=on))

    def trigger(self, name: str):
        return self.call(Trigger, f'{NODE}/{name}', Trigger.Request())

    @property
    def status(self) -> PolicyStatus:
        return self.statuses[-1]

    def wait_for_state(self, text: str, seconds=20.0) -> PolicyStatus:
        def reached():
            return self.statuses and self.status.state_text == text and self.status

        try:
            return wait_until(reached, seconds, f'state {text}')
        except AssertionError as error:
            last = self.status if self.statuses else None
            raise AssertionError(f'{error}; last status: {last}') from None

    def wait_for_reason(self, part: str, seconds=20.0) -> PolicyStatus:
        def said():
            return self.statuses and part in self.status.reason and self.status

        try:
            return wait_until(said, seconds, f'reason with {part!r}')
        except AssertionError as error:
            raise AssertionError(f'{error}; last: {self.status.reason!r}') from None

    def wait_for_trajectories(self, count: int, seconds=20.0) -> list[JointTrajectory]:
        seen = len(self.arm)
        wait_until(lambda: len(self.arm) >= seen + count, seconds, f'{count} arm trajectories')
        return [message for _, message in self.arm[seen:]]

    def positions(self) -> np.ndarray:
        """(N, 6) arm joints of every joint state so far."""
        order = [list(self.states[0][1].name).index(name) for name in NAMES[:6]]
        return np.array([np.asarray(m.position)[order] for _, m in self.states])

    def start_bench(self, **options) -> Bench:
        self.bench = Bench(self.node, **options)
        return self.bench


class Bench:
    """Cameras at 20 Hz and a driver at 50 Hz whose messages a test can spoil."""

    def __init__(self, node, width=640, height=480, driver=True):
        self._node = node
        self.joints = np.array([0.1, 0.2, 0.3, 0.0, -0.5, 0.0, 0.0])
        self.make_image = lambda camera: good_image(width, height)
        self.make_state = lambda: JointState(name=NAMES, position=array('d', self.joints))
        self._images = {
            camera: node.create_publisher(Image, f'{camera}/image', LATEST)
            for camera in ('third_person', 'wrist')
        }
        self._timers = [node.create_timer(0.05, self._publish_images)]
        if driver:
            self._states = node.create_publisher(JointState, 'joint_states', EVERY)
            self._timers.append(node.create_timer(0.02, self._publish_state))

    def close(self):
        for timer in self._timers:
            timer.cancel()

    def _publish_images(self):
        for camera, publisher in self._images.items():
            if (message := self.make_image(camera)) is not None:
                if message.header.stamp.sec == 0:
                    message.header.stamp = self._node.get_clock().now().to_msg()
                publisher.publish(message)

    def _publish_state(self):
        if (message := self.make_state()) is not None:
            if message.header.stamp.sec == 0:
                message.header.stamp = self._node.get_clock().now().to_msg()
            self._states.publish(message)


def good_image(width=640, height=480, encoding='rgb8', channels=3) -> Image:
    message = Image(height=height, width=width, encoding=encoding, step=width * channels)
    # Not all alike: a blank picture is a lens cap.
    rows = (bytes([level]) * (width * channels) for level in (np.arange(height) % 200).tolist())
    message.data = array('B', b''.join(rows))
    return message
