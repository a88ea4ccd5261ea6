# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy node: images, joint states and an instruction in, timed joint trajectories out.

This file is the ROS side only: lifecycle, topics, services. What happens between an observation
and a command is `control/loop.py`, which knows no ROS.
"""

from __future__ import annotations

import gc
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image, JointState

from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.lifecycle_node import AnsweringLifecycleNode
from vla_adapter_ros.nodes.common.messages import LATEST, image_input
from vla_adapter_ros.nodes.common.node_clock import NodeClock
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import declare_parameters, read_parameters
from vla_adapter_ros.nodes.policy.live_parameters import LiveParameters
from vla_adapter_ros.nodes.policy.operator_services import OperatorServices
from vla_adapter_ros.nodes.policy.operator_tasks import OperatorTasks
from vla_adapter_ros.nodes.policy.policy_outputs import PolicyOutputs
from vla_adapter_ros.nodes.policy.policy_parameters import PolicyNodeParameters
from vla_adapter_ros.nodes.policy.policy_setup import PolicySetup
from vla_adapter_ros.nodes.policy.stop_inputs import StopInputs

STATUS_PERIOD_S = 0.5
STOP_TIMEOUT_S = 2.0
# How long one thread may keep the interpreter while another wants it.
SWITCH_INTERVAL_S = 0.0005


class PolicyNode(AnsweringLifecycleNode):
    """Lifecycle node `vla_adapter`; README.md lists its topics, services and parameters."""

    def __init__(self) -> None:
        super().__init__('vla_adapter', automatically_declare_parameters_from_overrides=True)
        declare_parameters(self, PolicyNodeParameters)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._clocks = NodeClock(self)
        self._outputs = PolicyOutputs(self, self._clocks)
        self._setup: PolicySetup | None = None
        self._loop: ControlLoop | None = None
        self._active = False
        # What exists while active.
        self._running = ExitStack()
        self._wake = self.create_guard_condition(self._tick)
        self._live = LiveParameters(self)
        self._stops = StopInputs(self, self._tick)
        access = (lambda: self._loop), self._clocks.now
        self._tasks = OperatorTasks(self, *access, self._publish_status)
        OperatorServices(self, *access, self._tasks, self._publish_status)
        self._status_timer = self.create_timer(
            STATUS_PERIOD_S, self._publish_status, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    # Lifecycle. rclpy swallows what transition callbacks raise, so each is guarded here.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read parameters, load and warm up the policy. Nothing is subscribed yet."""
        return self._guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the inputs and start the control loop."""
        result = self._guarded(self._activate)
        if result != TransitionCallbackReturn.SUCCESS:
            self._guarded(self._deactivate)
            return result
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold the arm, then stop listening."""
        return self._or_error(self._guarded(self._deactivate), super().on_deactivate(state))

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the policy and its device."""
        return self._or_error(self._guarded(self._cleanup))

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, then release everything."""
        self._stop()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, then go back to unconfigured: the node lives on."""
        self._stop()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Hold the arm and release everything: on Ctrl-C and SIGTERM."""
        waited_for = bool(self._tasks.running)
        self._guarded(self._deactivate)
        if waited_for and self.executor is not None:
            self._guarded(partial(self._tasks.deliver, self.executor))
        self._guarded(self._cleanup)

    def _stop(self) -> None:
        self._guarded(self._deactivate)
        self._guarded(self._cleanup)

    def _guarded(self, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except VLAAdapterError as error:
            self._outputs.error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._outputs.error(f'{type(error).__name__}: {error}', traceback.format_exc())
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    @staticmethod
    def _or_error(*results: TransitionCallbackReturn) -> TransitionCallbackReturn:
        # There is no way back: what failed while stopping ends unconfigured (`on_error`).
        good = all(result == TransitionCallbackReturn.SUCCESS for result in results)
        return TransitionCallbackReturn.SUCCESS if good else TransitionCallbackReturn.ERROR

    def _configure(self) -> None:
        parameters = read_parameters(self, PolicyNodeParameters)
        self._stops.switches.deadman_timeout = parameters.deadman_timeout
        self._setup = setup = PolicySetup(
            self, parameters, self._outputs, self._wake.trigger, self._trip_if_enabled,
            self._stops.switches,
        )  # fmt: skip
        try:
            loop = setup.make_loop()
            self._outputs.attach(
                loop, setup.policy_name, setup.kinematics,
                parameters.image_transport, parameters.frame_prefix,
            )  # fmt: skip
        except BaseException:
            self._cleanup()
            raise
        self._loop = loop
        # What is loaded by now stays: the collector need not walk through it while the arm moves.
        gc.collect()
        gc.freeze()

    def _activate(self) -> None:
        assert self._loop is not None and self._setup is not None
        parameters = self._setup.parameters
        for camera in self._setup.contract.cameras:
            kind, topic = image_input(camera, parameters.image_transport)
            self._subscribe(kind, topic, partial(self._on_image, camera))
        self._subscribe(JointState, 'joint_states', self._on_joint_state)
        self._setup.subscribe_extras(self._subscribe)
        # Steady: with simulated time that stands still, the watchdog must still run.
        control = self.create_timer(
            1.0 / parameters.control_rate,
            self._tick,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        diagnostics = self.create_timer(
            parameters.diagnostics_period,
            self._publish_diagnostics,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        for timer in (control, diagnostics):
            self._running.callback(self.destroy_timer, timer)
        now = self._clocks.now()
        instruction = self._live.begin(self._loop, now)
        self._outputs.connect(not self._loop.dry_run)
        self._loop.activate(now, instruction, parameters.enable)
        self._active = True

    def _subscribe(self, kind: type, topic: str, callback: Callable[[object], None]) -> None:
        subscription = self.create_subscription(kind, topic, callback, LATEST)
        self._running.callback(self.destroy_subscription, subscription)

    def _deactivate(self) -> None:
        # First: whatever fails from here on, motion can no longer be enabled.
        was_active, self._active = self._active, False
        with self._running.pop_all():
            if was_active and self._loop is not None:
                self._loop.deactivate(self._clocks.now())
            self._tasks.update()
        self._publish_status()

    def _cleanup(self) -> None:
        setup, self._setup, self._loop = self._setup, None, None
        with ExitStack() as steps:
            steps.callback(gc.collect)
            steps.callback(gc.unfreeze)
            steps.callback(self._outputs.attach, None)
            if setup is not None:
                setup.release(STOP_TIMEOUT_S)

    # Inputs and the loop. Callbacks only store references; decoding happens in the worker.

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        if self._loop is not None:
            self._loop.receive_image(camera, message, self._clocks.arrival(message.header.stamp))

    def _on_joint_state(self, message: JointState) -> None:
        if self._loop is not None:
            arrival = self._clocks.arrival(message.header.stamp)
            self._loop.receive_joint_state(message.name, message.position, arrival)

    def _tick(self) -> None:
        if self._loop is None or not self._active:
            return
        loop, now = self._loop, self._clocks.now()
        self._live.follow(loop, now)
        loop.tick(now, time.monotonic())
        self._tasks.update()
        # The last command before a dry run is the end of a brake.
        self._outputs.connect(not (loop.dry_run and loop.gate.quiet(now)))

    def on_callback_error(self, error: Exception) -> None:
        """Trip on a bug of ours: it must end in hold, not in a dead node with a moving arm."""
        self.get_logger().error(traceback.format_exc())
        if self._loop is None or not self._active:
            return
        try:
            self._loop.fail(f'internal error: {type(error).__name__}: {error}', self._clocks.now())
        except Exception:
            # Not even the hold could be made. The running trajectory ends at rest by itself.
            self._active = self._loop.active = self._loop.enabled = False
            self._tasks.update()
            self.get_logger().fatal(traceback.format_exc())

    def _on_set_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        if self._loop is None:
            return SetParametersResult(successful=True)
        return self._live.check(parameters, self._tasks.running)

    # Outputs.

    def _publish_status(self) -> None:
        self._outputs.publish_status()

    def _trip_if_enabled(self, why: str) -> None:
        if self._loop is not None and self._loop.gate.engaged:
            self._loop.fail(why, self._clocks.now())

    def _publish_diagnostics(self) -> None:
        if self._setup is not None and (why := self._setup.watch()):
            self._trip_if_enabled(why)
        self._outputs.publish_diagnostics()


def main(args: Sequence[str] | None = None) -> None:
    """Run the policy node."""
    # The loop must not wait 5 ms for the worker's Python code, nor the worker for the loop's.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    sys.exit(run_node('vla_adapter', __doc__, PolicyNodeParameters, PolicyNode, args))


if __name__ == '__main__':
    main()
