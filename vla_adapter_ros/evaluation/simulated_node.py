# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy node's motion path in simulated time, without ROS.

The same scheduler and gate as in the node, and the same trajectory controllers as in the simulated
arm, on one simulated clock. Not included is what ROS adds: transport, threads, and the real speed
of the computer, replaced by a fixed latency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.front_ends import Command, TrajectoryCommand
from vla_adapter_ros.control.gate import CommandGate
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.inference.chunk import ActionChunk, ChunkPolicy
from vla_adapter_ros.motion.plan import MotionPlan
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.kinematics import Kinematics
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation, arm_kinematics
from vla_adapter_ros.simulation.session import render_views
from vla_adapter_ros.simulation.trajectory_controller import (
    JointTrajectoryController,
    Trajectory,
    TrajectoryPoint,
)

CONTROL_PERIOD_S = 0.02


@dataclass(frozen=True)
class ControlSettings:
    """How chunks become motion.

    Attributes:
        execute_steps: steps of a chunk to execute before the next takes over (1…8).
        blend_steps: see ChunkScheduler.
        latency: simulated time from observation to chunk [s].
    """

    execute_steps: int = 8
    blend_steps: int = 0
    latency: float = 0.05


class SimulatedNode:
    """Runs a policy on a simulation, step by step of 20 ms.

    Args:
        simulation: already reset.
        policy: answers with chunks in the contract's action space.
        contract: of the policy.
        settings: how chunks become motion.
        images: whether observations have images.
        instruction: given to the policy.
    """

    def __init__(
        self,
        simulation: ArmSimulation,
        policy: ChunkPolicy,
        contract: RobotContract,
        settings: ControlSettings,
        images: bool,
        instruction: str,
        kinematics: Kinematics | None = None,
    ) -> None:
        self._simulation = simulation
        self._policy = policy
        self._settings = settings
        self._cameras = contract.cameras if images else {}
        kinematics = kinematics or arm_kinematics()
        self.safety = SafetyFilter(contract, kinematics=kinematics)
        self.scheduler = ChunkScheduler(
            contract,
            execute_steps=settings.execute_steps,
            blend_steps=settings.blend_steps,
            kinematics=kinematics,
            safety=self.safety,
        )
        self._gate = CommandGate(contract, self.scheduler, self.safety, self)
        targets = simulation.targets
        self._controllers = {
            contract.front_end.arm_topic: JointTrajectoryController(
                contract.driver_joint_names, targets[:-1]
            ),
            contract.front_end.gripper_topic: JointTrajectoryController(
                contract.driver_names[-1:], targets[-1:]
            ),
        }
        self.instruction = instruction
        self._pending: tuple[ActionChunk, np.ndarray] | None = None
        self.latest: Observation | None = None
        self.chunks = 0
        self.refused = 0
        self._gate.engage(simulation.proprioception, simulation.time)

    def observe(self) -> Observation:
        """Return the present observation of the node."""
        images = render_views(self._simulation, self._cameras)
        state = self._simulation.proprioception
        return Observation(images, state, self.instruction, self._simulation.time)

    def step(self) -> None:
        """Advance by one control period.

        Raises:
            VLAAdapterError: the policy cannot answer.
        """
        now = self._simulation.time
        self._gate.observe(self._simulation.proprioception, Arrival(now, 0.0, now))
        self._take_chunk(now)
        if fault := self._gate.tick(now):
            self.safety.trip(fault)
            self._gate.stop(now)
        if self._pending is None and self._may_infer(now):
            self.latest = self.observe()
            chunk = self._policy.predict(self.latest)
            self._pending = chunk, self.latest.proprioception
            if self._settings.latency <= 0.0:
                self._take_chunk(now)
        self._move()

    def send(self, command: Command) -> None:
        """Give a command of the gate to its controller."""
        assert isinstance(command, TrajectoryCommand)
        controller = self._controllers[command.topic]
        controller.accept(_trajectory(command), self._simulation.time)

    def plan(self, plan: MotionPlan) -> None:
        """Nobody is shown the plans of the simulation."""

    def _may_infer(self, now: float) -> bool:
        return not self._gate.waiting and self.scheduler.needs_inference(now)

    def _take_chunk(self, now: float) -> None:
        if self._pending is None:
            return
        chunk, observed = self._pending
        if now - chunk.observation_stamp < self._settings.latency - 1e-9:
            return
        self._pending = None
        self.chunks += 1
        if self._gate.follow(chunk, now, observed) is None:
            self.refused += 1

    def _move(self) -> None:
        simulation = self._simulation
        for _ in range(round(CONTROL_PERIOD_S / simulation.timestep)):
            arm, gripper = (c.sample(simulation.time) for c in self._controllers.values())
            simulation.set_targets(
                np.concatenate([arm[0], gripper[0]]), np.concatenate([arm[1], gripper[1]])
            )
            simulation.step(simulation.timestep)


def _trajectory(command: TrajectoryCommand) -> Trajectory:
    points = [
        TrajectoryPoint(float(time), position, velocity)
        for time, position, velocity in zip(
            command.times, command.positions, command.velocities, strict=True
        )
    ]
    return Trajectory(command.names, points)
