# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Command `first_motion`: the first motions of an arm, one small and slow step at a time.

Each joint turns by 5 degrees at 5 degrees a second and comes back, after a person has agreed;
then the gripper. The measured motion is compared with the commanded one: wrong joints, wrong
signs and a driver that does not follow show here, before a policy drives.
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import JointState

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.arm_commands import ArmCommands
from vla_adapter_ros.nodes.common.dds_profile import use_shipped_profile
from vla_adapter_ros.nodes.common.messages import LATEST
from vla_adapter_ros.nodes.common.node_main import listen_for_stop, stop_requested
from vla_adapter_ros.preflight.checks import SKIP, Check, exit_code, table
from vla_adapter_ros.preflight.driver_checks import check_small_motion
from vla_adapter_ros.robot.contract import contract_path, load_contract
from vla_adapter_ros.teaching.motion import TeachMotion

_STEP_RAD = np.deg2rad(5.0)
_SPEED_RAD_S = np.deg2rad(5.0)  # rad/s
# Not near the middle, where an inverted gripper reads the same.
_GRIPPER_TARGETS = (0.3, 0.7)
# Measured positions lag 50 ms behind, and the arm settles [s].
_SETTLE_S = 0.7
# It rests when it moves less than this meanwhile, and has moved if more [rad]; as a commanded
# velocity this is rest too [rad/s].
_STILL = 0.005
# A first message may arrive this late, where the middleware has to send it again [s].
_LATE_S = 3.0
_WAIT_S = 10.0
# What waits to be read, and what the driver was kept from sending, has come after this [s].
_READ_S = 0.2
_PERIOD_S = 0.02


class FirstMotionNode(Node):
    """Commands small motions through the same front end as the policy node."""

    def __init__(self, robot: str) -> None:
        super().__init__('first_motion')
        self.contract = load_contract(contract_path(robot))
        fastest = float(self.contract.max_velocity[:-1].max())
        self.commands = ArmCommands(self, self.contract)
        self.motion = TeachMotion(self.contract, self.commands, None, _SPEED_RAD_S / fastest)
        self.create_subscription(JointState, 'joint_states', self._on_joint_state, LATEST)

    def tick(self) -> None:
        """Send what is due."""
        self.motion.tick(time.monotonic())

    def close(self) -> None:
        """Hold the arm, and wait until the driver has got that."""
        self.motion.close(time.monotonic())
        self.commands.close()

    def _on_joint_state(self, message: JointState) -> None:
        self.motion.observe(message.name, message.position, time.monotonic())


class FirstMotion:
    """The guided sequence.

    Args:
        node: commands the arm.
        executor: runs the node between questions.
        ask: shows a question and returns the answer.
    """

    def __init__(
        self, node: FirstMotionNode, executor: SingleThreadedExecutor, ask: Callable[[str], str]
    ) -> None:
        self._node, self._executor, self._ask = node, executor, ask

    def run(self) -> list[Check]:
        """Run all steps. Raises VLAAdapterError if the arm must not be moved."""
        self._prepare()
        checks = []
        for index, name in enumerate(self._node.contract.names):
            checks.append(self._step(index, name))
        self._spin(_SETTLE_S)
        return checks

    def _prepare(self) -> None:
        node = self._node
        self._wait_until_ready(_WAIT_S)
        answer = self._question(
            'Each joint will move by 5 degrees at 5 degrees/s. Is the space clear, and your hand'
            ' at the power switch? [yes] '
        )
        if answer.strip().lower() != 'yes':
            raise VLAAdapterError('not confirmed, nothing was moved')
        # An arm that moves by itself is not taken over in mid-motion.
        self._settle()
        self._wait_until_ready(_LATE_S)
        node.motion.engage(time.monotonic())
        # An arm whose state and command disagree moves now; it must rest before it is measured.
        self._spin(_SETTLE_S)
        self._settle()
        if (problem := self._fault()) and node.motion.astray:
            raise VLAAdapterError(
                f'the arm did not stay where it was when it was engaged: {problem}; joint names, '
                f'order and signs of its states and commands may not agree'
            )
        if problem:
            raise VLAAdapterError(f'{problem}; the arm holds')

    def _wait_until_ready(self, seconds: float) -> None:
        """Wait until the arm may be moved. Raises VLAAdapterError if it still must not be."""
        self._spin(seconds, until=lambda: self._problem() == '')
        if self._problem():
            self._read()
        if problem := self._problem():
            raise VLAAdapterError(problem)

    def _problem(self) -> str:
        node = self._node
        if problem := node.motion.problem(time.monotonic()):
            return problem
        if not node.commands.driver_listens:
            return f'no driver listens on {node.commands.listening}; run preflight'
        if others := node.commands.other_commanders():
            return f'{", ".join(others)} commands this arm too; stop it first'
        return ''

    def _fault(self) -> str:
        """Return what tripped, once what waits to be read was judged."""
        self._read()
        return self._node.motion.tripped

    def _step(self, index: int, name: str) -> Check:
        node, contract = self._node, self._node.contract
        target = self._target(index)
        answer = self._question(
            f'{name} to {target:+.2f}: Enter to move, s to skip, q to quit '
        ).strip().lower()
        if answer == 'q':
            raise VLAAdapterError('ended by the person at the arm')
        if answer == 's':
            return Check(f'{name} motion', SKIP, 'skipped')
        before = self._measured()
        home = node.motion.commanded(time.monotonic())[0]
        goal = home.copy()
        # From the command: a joint must not go far where state and command disagree.
        joint = index < len(contract.joints)
        goal[index] = home[index] + target - before[index] if joint else target
        self._move(goal)
        after = self._measured()
        self._move(home)
        if problem := self._fault():
            raise VLAAdapterError(f'{name}: {problem}; the arm holds')
        return check_small_motion(index, target, before, after, contract)

    def _target(self, index: int) -> float:
        """Return where a joint is sent: a little away from its nearer limit."""
        contract, here = self._node.contract, float(self._measured()[index])
        if index == len(contract.joints):
            return max(_GRIPPER_TARGETS, key=lambda target: abs(target - here))
        middle = 0.5 * float(contract.lower[index] + contract.upper[index])
        return here + (_STEP_RAD if here < middle else -_STEP_RAD)

    def _move(self, goal: np.ndarray) -> None:
        before = self._measured()
        self._node.motion.follow(goal)
        self._spin(_STEP_RAD / _SPEED_RAD_S + 1.0)
        self._spin(_LATE_S, until=lambda: self._moved_since(before))
        self._settle()

    def _settle(self) -> None:
        """Wait until the arm rests; an arm that never does is evaluated too."""
        end = time.monotonic() + _WAIT_S
        moving = True
        while moving and time.monotonic() < end:
            before = self._measured()
            self._spin(_SETTLE_S)
            moving = self._moved_since(before) or self._commanded_to_move()

    def _commanded_to_move(self) -> bool:
        motion = self._node.motion
        if not motion.engaged:
            return False
        return bool(np.abs(motion.commanded(time.monotonic())[1]).max() > _STILL)

    def _moved_since(self, before: np.ndarray) -> bool:
        return bool(np.abs(self._measured() - before).max() > _STILL)

    def _question(self, text: str) -> str:
        """Ask, and hear the arm meanwhile: joint states must not grow old."""
        answers: queue.Queue[str | BaseException] = queue.Queue()

        def wait() -> None:
            try:
                answers.put(self._ask(text))
            except BaseException as error:  # end of input, handed on below
                answers.put(error)

        threading.Thread(target=wait, daemon=True).start()
        while answers.empty():
            self._spin(_PERIOD_S)
        answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _measured(self) -> np.ndarray:
        assert self._node.motion.measured is not None
        return self._node.motion.measured.copy()

    def _read(self) -> None:
        """Read what waits, and judge it: this process may have been kept from running."""
        self._spin(_READ_S)

    def _spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = time.monotonic() + seconds
        due = time.monotonic()
        while time.monotonic() < end and not until():
            if stop_requested():
                raise KeyboardInterrupt
            self._executor.spin_once(timeout_sec=_PERIOD_S / 4)
            if time.monotonic() >= due:
                self._node.tick()
                # After a pause of this process, what waits is read between two ticks.
                due = max(due + _PERIOD_S, time.monotonic() + _PERIOD_S / 2)


def main(words: Sequence[str] | None = None) -> None:
    """Run the sequence; exit code 0 if every motion was as asked."""
    words = sys.argv if words is None else ['first_motion', *words]
    parser = argparse.ArgumentParser(
        prog='first_motion',
        description='First motions of an arm: each joint by 5 degrees at 5 degrees/s and back,'
        ' then the gripper, each after a key. Compares the measured motion with the commanded one.'
        ' Run preflight before.',
    )
    parser.add_argument(
        '--robot', default='alicia_d', help='robot contract: name or YAML file (%(default)s)'
    )
    arguments = parser.parse_args(remove_ros_args(words)[1:])
    use_shipped_profile(sim=False)
    # rclpy's own handlers would shut the context down immediately: the hold could not be sent.
    rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
    listen_for_stop()
    node = None
    try:
        node = FirstMotionNode(arguments.robot)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        checks = FirstMotion(node, executor, input).run()
    except VLAAdapterError as error:
        sys.exit(f'first_motion: {error}')
    except (KeyboardInterrupt, EOFError, ExternalShutdownException):
        sys.exit('first_motion: interrupted')
    finally:
        if node is not None:
            node.close()
            # Left to Python's end, the middleware may be gone before it (seen as a segfault).
            node.destroy_node()
        rclpy.try_shutdown()
    print(table(checks, colour=sys.stdout.isatty()))
    sys.exit(exit_code(checks))


if __name__ == '__main__':
    main()
