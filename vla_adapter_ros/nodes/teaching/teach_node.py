# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `teach`: move the arm by keys, gamepad, leader arm or hand, and record episodes.

It commands the arm itself, so the policy node must not run beside it. Episodes are recorded by
the recorder node; its start, stop and discard are reached by key and by service from here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.arm_commands import ArmCommands
from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED, LATEST
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import declare_parameters, read_parameters
from vla_adapter_ros.nodes.teaching.gamepad import Gamepad
from vla_adapter_ros.nodes.teaching.teach_parameters import TeachParameters
from vla_adapter_ros.nodes.teaching.teach_recorder import RecorderCalls
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.contract import contract_path, load_contract
from vla_adapter_ros.robot.kinematics import Kinematics
from vla_adapter_ros.teaching import jogging
from vla_adapter_ros.teaching.leader import Leader
from vla_adapter_ros.teaching.motion import TeachMotion

_NAME = 'teach'
# The second press that releases the arm must come within this time.
# The driver has this long to take the last message.
_ACKNOWLEDGE = Duration(seconds=1.0)
# Between two looks at who else commands the arm [s].
_COMMANDERS_PERIOD_S = 1.0
_CONFIRM_WITHIN_S = 5.0
# Whoever joins later sees the last lines too; two in quick succession must both arrive.
SAYINGS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class TeachNode(Node):
    """Node `teach`; docs/hardware.md describes its use."""

    def __init__(self) -> None:
        super().__init__(_NAME, automatically_declare_parameters_from_overrides=True)
        declare_parameters(self, TeachParameters, live=('instruction',))
        self.parameters = parameters = read_parameters(self, TeachParameters)
        path = contract_path(parameters.robot)
        self.contract = load_contract(path)
        self._check_mode()
        self._commands = ArmCommands(self, self.contract)
        kinematics = self._kinematics(path)
        self.motion = TeachMotion(self.contract, self._commands, kinematics, parameters.speed)
        self._keys = jogging.KeyJogger(self.motion)
        settings = jogging.PadSettings(parameters.pad_deadman, speed=parameters.pad_speed)
        self._pad = Gamepad(self.motion, settings, self._engage, self._release)
        self._leader = Leader(
            self.contract,
            [n.strip() for n in parameters.leader_names.split(',') if n.strip()],
            parameters.leader_gripper_open,
            parameters.leader_gripper_closed,
            parameters.max_leader_age,
        )
        self._dragging = False
        self._drag_asked = -_CONFIRM_WITHIN_S
        self._said = ''
        self._make_outputs()
        self._make_inputs()
        self._ready = False
        self.say(f'teaching by {parameters.mode}; waiting for joint states')

    # -- interfaces ---------------------------------------------------------------------------

    def _check_mode(self) -> None:
        front_end = self.contract.front_end.kind
        driver = alicia_d.driver_named('standalone')
        if self.parameters.mode == 'drag' and front_end != driver.front_end:
            raise VLAAdapterError(
                f'mode drag needs {driver.title} (its {alicia_d.DEMONSTRATION_TOPIC} frees the'
                f' arm), robot {self.contract.name} has front end {front_end};'
                f' use robot:={driver.robot}'
            )

    def _kinematics(self, path: Path) -> Kinematics | None:
        try:
            return Kinematics.of(self.contract, path.parent)
        except VLAAdapterError as error:
            self.get_logger().warning(f'no tool keys, no workspace box: {error}')
            return None

    def _make_outputs(self) -> None:
        self._state = self.create_publisher(String, '~/state', SAYINGS)
        # Where the recorder (and the simulation's success check) hear it from the policy node too.
        self._instruction = self.create_publisher(String, 'vla_adapter/instruction', LATCHED)
        self._taught = ''
        self._follow_instruction()
        if self.parameters.mode == 'drag':
            self._demonstration = self.create_publisher(
                Bool, alicia_d.DEMONSTRATION_TOPIC, EVERY
            )

    def _make_inputs(self) -> None:
        self.create_subscription(JointState, 'joint_states', self._on_joint_state, LATEST)
        self.create_subscription(String, '~/keys', self._on_keys, EVERY)
        self.create_subscription(Joy, 'joy', self._pad.receive, LATEST)
        if self.parameters.mode == 'leader':
            self.create_subscription(
                JointState, 'leader/joint_states', self._on_leader, LATEST
            )
        self.create_service(SetBool, '~/engage', self._on_engage)
        self.create_service(Trigger, '~/clear_trip', self._on_clear_trip)
        self._recorder = RecorderCalls(self, self.say)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / self.parameters.tick_rate, self._tick, clock=steady)
        self.create_timer(_COMMANDERS_PERIOD_S, self._watch_commanders, clock=steady)
        front_end = self.contract.front_end
        if front_end.kind == 'joint_commands':
            self.create_timer(1.0 / front_end.rate, self._stream, clock=steady)

    def _follow_instruction(self) -> None:
        """Publish the parameter when it has changed; an empty one says nothing at start."""
        text = self.get_parameter('instruction').value
        if text != self._taught:
            self._taught = text
            self._instruction.publish(String(data=text))
            self.say(f'instruction: {text}')

    def close(self) -> None:
        """Hold the arm; give a torque-free arm its torque back."""
        if self._dragging:
            self._end_drag()
            # The process ends now: a message that is lost leaves the arm without torque.
            self._demonstration.wait_for_all_acked(_ACKNOWLEDGE)
        self.motion.close(time.monotonic())
        self._commands.close()

    def say(self, text: str, bad: bool = False) -> None:
        """Tell the person at the robot: log, and `~/state` for the keyboard's status line.

        What was said last is said again only after a request (`_expect_answer`).
        """
        if text == self._said:
            return
        self._said = text
        self._state.publish(String(data=text))
        if bad:
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)

    def _expect_answer(self) -> None:
        """Say the next text even if it is the last one: each request has its own answer."""
        self._said = ''

    # -- engaging -------------------------------------------------------------------------------

    def _engage(self) -> None:
        """Engage the arm. Raises VLAAdapterError with the reason if it cannot be engaged."""
        self._expect_answer()
        if others := self._commands.other_commanders():
            raise VLAAdapterError(f'{", ".join(others)} commands this arm too; stop it first')
        if self.parameters.mode == 'drag':
            self._begin_drag()
            return
        if self.parameters.mode == 'leader' and (
            problem := self._leader.problem(time.monotonic())
        ):
            raise VLAAdapterError(f'not engaged: {problem}')
        self.motion.engage(time.monotonic())
        self.say('engaged')

    def _release(self) -> None:
        if self._dragging:
            self._end_drag()
        self.motion.release(time.monotonic())
        self.say('not engaged; the arm holds')

    def _begin_drag(self) -> None:
        if problem := self.motion.problem(time.monotonic()):
            raise VLAAdapterError(f'not freed: {problem}')
        self._dragging = True
        self._demonstration.publish(Bool(data=True))
        self.say('the arm is FREE: hold it; p gives it its torque back')

    def _end_drag(self) -> None:
        self._dragging = False
        self._demonstration.publish(Bool(data=False))
        self.say('the arm holds')

    def _toggle(self) -> None:
        if self.motion.engaged or self._dragging:
            self._release()
        elif self.parameters.mode == 'drag' and not self._confirmed():
            self.say('HOLD THE ARM with your hand, it will fall: press p again within 5 s', True)
        else:
            self._engage()

    def _confirmed(self) -> bool:
        now = time.monotonic()
        confirmed = now - self._drag_asked < _CONFIRM_WITHIN_S
        self._drag_asked = -_CONFIRM_WITHIN_S if confirmed else now
        return confirmed

    # -- inputs -----------------------------------------------------------------------------

    def _on_joint_state(self, message: JointState) -> None:
        now = time.monotonic()
        self.motion.observe(message.name, message.position, now)
        if not self._ready and not self.motion.problem(now):
            self._ready = True
            self.say('ready; not engaged')

    def _on_leader(self, message: JointState) -> None:
        try:
            self._leader.receive(message.name, message.position, time.monotonic())
        except VLAAdapterError as error:
            self.say(f'leader: {error}', bad=True)

    def _on_keys(self, message: String) -> None:
        for key in message.data:
            try:
                self._on_key(key)
            except VLAAdapterError as error:
                self.say(str(error), bad=True)

    def _on_key(self, key: str) -> None:
        actions: dict[str, Callable[[], object]] = {
            jogging.ENGAGE: self._toggle,
            jogging.STOP: self._stop,
            jogging.CLEAR: self._clear,
            jogging.START_EPISODE: partial(self._recorder.call, 'start'),
            jogging.KEEP_EPISODE: partial(self._recorder.call, 'stop'),
            jogging.SUCCESS: partial(self._recorder.call, 'stop_success'),
            jogging.FAILURE: partial(self._recorder.call, 'stop_failure'),
            jogging.DISCARD_EPISODE: partial(self._recorder.call, 'discard'),
        }
        if key in actions:
            self._expect_answer()
            actions[key]()
        elif self.parameters.mode == 'jog':
            if not self._keys.press(key, time.monotonic()):
                self.say(f'key {key!r} has no meaning', bad=True)
        elif key.strip():
            self.say(f'key {key!r}: mode {self.parameters.mode} has no motion keys', bad=True)

    def _stop(self) -> None:
        if self.parameters.mode == 'leader':
            self._release()  # the leader would only move it again
            return
        self.motion.hold(time.monotonic())
        self.say('stopped; the arm holds')

    def _clear(self) -> str:
        cleared = self.motion.clear(time.monotonic())
        self.say(f'cleared: {cleared}' if cleared else 'no trip to clear')
        return cleared

    # -- services -----------------------------------------------------------------------------

    def _on_engage(self, request: SetBool.Request, response: SetBool.Response) -> object:
        response.success = True
        try:
            if request.data and not (self.motion.engaged or self._dragging):
                self._engage()
            elif not request.data:
                self._release()
        except VLAAdapterError as error:
            response.success = False
            self.say(str(error), bad=True)
        response.message = self._said
        return response

    def _on_clear_trip(self, request: Trigger.Request, response: Trigger.Response) -> object:
        self._clear()
        response.success, response.message = True, self._said
        return response

    # -- motion -----------------------------------------------------------------------------

    def _tick(self) -> None:
        self._follow_instruction()
        now = time.monotonic()
        try:
            if self.parameters.mode == 'jog':
                self._pad.act()
            if self.parameters.mode == 'leader' and self.motion.engaged:
                self._follow(now)
            self.motion.tick(now)
        except VLAAdapterError as error:
            self.say(str(error), bad=True)
        if self.motion.engaged and (problem := self.motion.tripped):
            self.say(f'holding: {problem}; z clears', bad=True)
        elif self.motion.refusal:
            self.say(f'refused: {self.motion.refusal}', bad=True)

    def _follow(self, now: float) -> None:
        if problem := self._leader.problem(now):
            self._release()
            raise VLAAdapterError(problem)
        assert self._leader.target is not None
        self.motion.follow(self._leader.target, self._leader.velocity)

    def _watch_commanders(self) -> None:
        if self.motion.engaged and (others := self._commands.other_commanders()):
            reason = f'the arm is also commanded by {", ".join(others)}'
            self.motion.fail(reason, time.monotonic())

    def _stream(self) -> None:
        if not self._dragging:
            self.motion.stream(time.monotonic())


def main(args: Sequence[str] | None = None) -> None:
    """Run the teaching node."""
    sys.exit(run_node('teach', __doc__, TeachParameters, TeachNode, args))


if __name__ == '__main__':
    main()
