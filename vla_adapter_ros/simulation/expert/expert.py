# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The scripted expert: follows an instruction, given the true object poses.

Like a policy it answers with a chunk of absolute joint targets, so that node, evaluation and
collection of demonstrations use it like a checkpoint. It does not perceive: object poses are
inputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import CHUNK_SIZE, ActionChunk
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.simulation.arm_simulation import STEP_PERIOD, ArmSimulation, Pose
from vla_adapter_ros.simulation.expert.motion import MAX_JOINT_STEP, HandCommand, HandMotion
from vla_adapter_ros.simulation.expert.prediction import predict_hand
from vla_adapter_ros.simulation.expert.waypoints import HOLD_FRACTION, Hand, next_aim
from vla_adapter_ros.simulation.goals import Goal, SceneState
from vla_adapter_ros.simulation.instructions import parse_instruction

# Joints this far [rad] from the command, beyond their lag: something else moved the arm.
RESYNC_DISTANCE = 0.06
# Steps by which the measured arm may be ahead of the observation's stamp (that of its oldest
# image), or behind it (the motion was slowed), in the order in which they are tried.
_SHIFTS = (*np.arange(0.0, 1.5, 0.25), *np.arange(-0.25, -6.25, -0.25))
# Fingers are this near to their command unless something is between them [open fraction].
_FINGER_LAG = 0.15

Objects = Mapping[str, Pose]


class ExpertPolicy:
    """Scripted expert with the interface of a policy.

    Args:
        scene: gives the object poses at any time; optional if `predict` and `act` get them.
        chunk_size: actions in a chunk.
        arm: gives the (7,) true state in contract order, and by how much [s] what is measured
            may be behind what was commanded; without it, what observations have is the truth.
    """

    def __init__(
        self,
        scene: Callable[[], Objects] | None = None,
        chunk_size: int = CHUNK_SIZE,
        arm: Callable[[], tuple[np.ndarray, float]] | None = None,
    ) -> None:
        self._scene = scene
        self._arm = arm
        self._chunk_size = chunk_size
        self._motion = HandMotion()
        self.reset()

    @staticmethod
    def of(simulation: ArmSimulation) -> ExpertPolicy:
        """Return the expert that sees a simulation as it is, not as it is measured."""
        return ExpertPolicy(
            simulation.object_poses, arm=lambda: (simulation.true_state, simulation.lag)
        )

    def reset(self) -> None:
        """Forget instruction and motion: a new episode begins."""
        self._instruction: str | None = None
        self._goal: Goal | None = None
        self._start: SceneState | None = None
        self._command: HandCommand | None = None
        self._plan: list[HandCommand] = []
        self._plan_stamp = 0.0

    def predict(
        self, observation: Observation, scene_objects: Objects | None = None
    ) -> ActionChunk:
        """Return the chunk of absolute joint targets for an observation.

        Raises:
            InstructionError: the scene cannot do what the instruction asks.
        """
        began = time.perf_counter()
        objects = self._objects(scene_objects)
        state, near = self._state(observation)
        self._follow(observation, state, objects)
        command = self._recall(observation, near)
        hand = self._see(state, objects)
        plan, begin = [], command
        for _ in range(self._chunk_size):
            before = command
            command = self._motion.step(command, next_aim(hand, self._goal, self._start))
            # Fingers take time to start and to stop: the arm must not leave with the object before
            # they hold it, nor before they have let go.
            hand = predict_hand(hand, replace(command, gripper=before.gripper), self._goal)
            plan.append(command)
        self._plan, self._plan_stamp = [begin, *plan], observation.stamp
        return ActionChunk(
            actions=np.array([step.action() for step in plan]),
            observation_stamp=observation.stamp,
            step_period=STEP_PERIOD,
            instruction=observation.instruction,
            latencies={'total': time.perf_counter() - began},
            provenance={'policy': 'expert'},
        )

    def act(self, observation: Observation, scene_objects: Objects | None = None) -> np.ndarray:
        """Return the (7,) action of the next step; closed loop, one call per step period."""
        objects = self._objects(scene_objects)
        state, near = self._state(observation)
        self._follow(observation, state, objects)
        command = self._command
        if command is None or _apart(command, state, near):
            command = self._motion.at_rest(state[:6], float(state[6]))
        hand = self._see(state, objects)
        self._command = self._motion.step(command, next_aim(hand, self._goal, self._start))
        return self._command.action()

    def executed(self, action: np.ndarray) -> None:
        """Notify `act` that the arm received another (7,) action than it returned (noise)."""
        if self._command is not None:
            moved = self._motion.at_rest(action[:6], float(action[6]))
            self._command = replace(
                moved, velocity=self._command.velocity, change=self._command.change
            )

    def _objects(self, given: Objects | None) -> Objects:
        if given is not None:
            return given
        if self._scene is None:
            raise VLAAdapterError('expert: no object poses, and no scene to read them from')
        return self._scene()

    def _state(self, observation: Observation) -> tuple[np.ndarray, float]:
        """Return the arm's state, and how far [rad] its joints may be from the command."""
        if self._arm is None:
            return observation.proprioception, RESYNC_DISTANCE
        state, lag = self._arm()
        return state, RESYNC_DISTANCE + lag * MAX_JOINT_STEP / STEP_PERIOD

    def _follow(self, observation: Observation, state: np.ndarray, objects: Objects) -> None:
        """Accept a new instruction; its success is relative to the present scene."""
        if observation.instruction == self._instruction:
            return
        self._goal = parse_instruction(observation.instruction, tuple(objects))
        self._instruction = observation.instruction
        self._start = self._see(state, objects).state()

    def _see(self, state: np.ndarray, objects: Objects) -> Hand:
        position, rotation = self._motion.kinematics.tool_pose(state[:6])
        yaw = float(np.arctan2(rotation[1, 0], rotation[0, 0])) % (2 * np.pi)
        return Hand(position, yaw, float(state[6]), dict(objects))

    def _recall(self, observation: Observation, near: float) -> HandCommand:
        """Return what the last chunk commanded at the observation's time, if the arm is near it.

        Starting again from rest would brake a moving arm, so an arm ahead of or behind its plan
        continues from where it is on the path. The joints of an arm that waits for its fingers do
        not show its progress; the fingers do. Assuming them at their planned position would make
        the arm leave before they hold the object.
        """
        measured = observation.proprioception
        first: HandCommand | None = None
        for command in self._near(observation.stamp, measured, near):
            if _fingers_follow(command, measured):
                return command
            first = first or command
        if first is not None:
            return replace(first, gripper=float(measured[6]))
        return self._motion.at_rest(measured[:6], float(measured[6]))

    def _near(self, stamp: float, measured: np.ndarray, near: float) -> Iterator[HandCommand]:
        """Yield where in the last chunk the arm can be at `stamp`, the likely ones first."""
        steps = (stamp - self._plan_stamp) / STEP_PERIOD
        if steps > len(self._plan):
            # It has come to rest since.
            return
        for shift in _SHIFTS:
            command = self._planned(steps + shift)
            if command is not None and not _apart(command, measured, near):
                yield command

    def _planned(self, steps: float) -> HandCommand | None:
        """Return the last chunk's command this many steps after its observation, or None."""
        if not 0.0 <= steps <= len(self._plan) - 1:
            return None
        number = min(int(steps), len(self._plan) - 2)
        fraction = steps - number
        before, after = self._plan[number], self._plan[number + 1]
        action = (1.0 - fraction) * before.action() + fraction * after.action()
        return replace(
            self._motion.at_rest(action[:6], float(action[6])),
            velocity=(1.0 - fraction) * before.velocity + fraction * after.velocity,
            change=(1.0 - fraction) * before.change + fraction * after.change,
        )


def _apart(command: HandCommand, measured: np.ndarray, near: float) -> bool:
    return bool(np.abs(command.joints - measured[:6]).max() > near)


def _fingers_follow(command: HandCommand, measured: np.ndarray) -> bool:
    """Return whether the measured fingers can be following `command`."""
    pressing = command.gripper < measured[6] <= HOLD_FRACTION
    return bool(pressing or abs(command.gripper - measured[6]) <= _FINGER_LAG)
