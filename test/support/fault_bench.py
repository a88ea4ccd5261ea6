# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The real control loop against an arm that can be blocked, pushed, slowed and restarted.

Loop, scheduler, gate and front end are the product's. Made up are the clocks, the worker (a
function of the observation that answers after a set latency) and what stands below the driver's
topics: a controller and an arm with inertia. `Asked` keeps what the controller was asked to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from support.fault_report import allowed_distance
from support.loop_fakes import FakeWorker, image
from support.motion_helpers import HOME, received, robot
from vla_adapter_ros.control.clock import Arrival, MotionClock
from vla_adapter_ros.control.front_ends import JointCommand, TrajectoryCommand
from vla_adapter_ros.control.gate import CommandGate
from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.observation_inputs import Inputs
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.simulation.trajectory_controller import JointTrajectoryController

STEP_S = 0.005
SUBSTEPS = 4  # a control period of 20 ms


class TrajectoryDriver:
    """Two joint_trajectory_controllers, in driver units, on the steady clock."""

    def __init__(self, contract, position):
        self._spec = contract.front_end
        self._gripper = contract.gripper.name
        self.arm = JointTrajectoryController(contract.joint_names, position[:-1])
        closed = self._spec.gripper_command(position[-1:])
        self.gripper = JointTrajectoryController([self._gripper], closed)

    def receive(self, command: TrajectoryCommand, now: float) -> None:
        controller = self.gripper if self._gripper in command.names else self.arm
        controller.accept(received(command), now)

    def target(self, now: float) -> np.ndarray:
        return self.arm.sample(now)[0].copy()

    def restart(self, measured: np.ndarray) -> None:
        self.arm.hold(measured)


class StreamDriver:
    """The standalone driver: the last message is the target."""

    def __init__(self, contract, position):
        self._target = position[:-1].copy()

    def receive(self, command: JointCommand, now: float) -> None:
        self._target = command.positions[:-1].copy()

    def target(self, now: float) -> np.ndarray:
        return self._target.copy()

    def restart(self, measured: np.ndarray) -> None:
        self._target = measured.copy()


@dataclass
class Arm:
    """Joints that follow their targets with a first-order lag and a largest speed.

    A wall is a bound that a joint cannot pass; `hand` is a displacement speed [rad/s] by a person.
    """

    position: np.ndarray
    lag: float = 0.03
    max_speed: float = 3.0
    low_wall: np.ndarray = field(default_factory=lambda: np.full(6, -math.inf))
    high_wall: np.ndarray = field(default_factory=lambda: np.full(6, math.inf))
    hand: np.ndarray = field(default_factory=lambda: np.zeros(6))

    def step(self, target: np.ndarray) -> None:
        speed = np.clip((target - self.position) / self.lag, -self.max_speed, self.max_speed)
        moved = self.position + (speed + self.hand) * STEP_S
        self.position = np.clip(moved, self.low_wall, self.high_wall)


@dataclass
class Asked:
    """The targets of the arm's joints over time, and where the arm was."""

    times: list[float] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)

    def interrupt(self) -> None:
        """The next target is not compared with those before: somebody else set it."""
        if self.targets:
            self.targets[-1] = np.full(6, np.nan)

    def add(self, now: float, target: np.ndarray, measured: np.ndarray) -> None:
        self.times.append(now)
        self.targets.append(target)
        self.measured.append(measured)


class LatencyWorker(FakeWorker):
    """Answers with `policy(observation)` after `latency` [s] of the steady clock."""

    def __init__(self, policy: Callable):
        super().__init__()
        self.behave, self.latency = policy, 0.08

    def advance(self) -> None:
        if self.busy_since is None or self.steady - self.busy_since < self.latency - 1e-9:
            return
        try:
            self.answer(self.behave(self.jobs[-1].observe()))
        except Exception as error:
            self.fail(f'{type(error).__name__}: {error}')


class Said:
    """Takes what the loop sends and says."""

    def __init__(self, bench):
        self._bench = bench
        self.lines: list[str] = []

    def send(self, command):
        bench = self._bench
        if not bench.deaf:
            bench.driver.receive(command, bench.steady)

    def heartbeat(self, stamp):
        pass

    def chunk(self, chunk, sequence):
        pass

    def plan(self, plan):
        pass

    def instruction(self, instruction):
        pass

    def info(self, text):
        self.lines.append(text)

    warning = info

    def error(self, text, trace=''):
        self.lines.append(text)

    def stamp(self):
        return self._bench.robot_time

    def changed(self):
        if self._bench.loop.reason:
            self.lines.append(self._bench.loop.reason)


class FaultBench:
    """A swaying arm, and attributes that bring faults about; all off at first.

    Attributes:
        lost: inputs that do not arrive: `states` or the name of a camera.
        spoil: from measured joints (6,) to what the driver publishes.
        offset: of the robot's (wall) clock from the steady clock [s].
        drift: rate at which it gains [s/s].
        fault_time: when the fault began [s].
        stamp_offset: of the stamps of all inputs from the robot's clock [s].
        misbehave: from targets (8, 7) to what the policy returns.
        deaf: commands do not reach the driver.
    """

    def __init__(self, robot_name: str = 'alicia_d', seed: int = 0):
        self.contract = robot(robot_name)
        self.random = np.random.default_rng(seed)
        self._streamed, self._substep = self.contract.front_end.kind == 'joint_commands', 0
        driver = StreamDriver if self._streamed else TrajectoryDriver
        self.steady, self.offset, self.drift, self.stamp_offset = 50.0, 1.0e9, 0.0, 0.0
        self.arm = Arm(HOME[:-1].copy())
        self.driver = driver(self.contract, HOME)
        self.asked, self.said = Asked(), Said(self)
        self.worker = LatencyWorker(self.policy)
        safety = SafetyFilter(self.contract)
        scheduler = ChunkScheduler(self.contract, safety=safety)
        gate = CommandGate(self.contract, scheduler, safety, self.said, self.pause)
        self.loop = ControlLoop(
            self.contract, self.worker, gate,
            Inputs(self.contract), self.said, 1.0,
        )  # fmt: skip
        self._clock = MotionClock()
        self._began = self.fault_time = 0.0
        self.lost: set[str] = set()
        self.spoil = self.misbehave = None
        self.noise, self.deaf = 1e-5, False
        self.chunk_period = 0.1

    # -- clocks -----------------------------------------------------------------------------

    @property
    def robot_time(self) -> float:
        """The robot's clock, which may be set [s]."""
        return self.steady + self.offset

    @property
    def now(self) -> float:
        """The motion clock [s]."""
        return self._clock.now(self.robot_time, self.steady)

    @property
    def allowed_distance(self) -> float:
        return allowed_distance(self.contract)

    def pause(self, seconds: float) -> None:
        """The process stands still; the arm does not."""
        for _ in range(round(seconds / STEP_S)):
            self._physics()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / (STEP_S * SUBSTEPS))):
            for _ in range(SUBSTEPS):
                self._physics()
            self.feed()
            self.worker.advance()
            self.loop.tick(self.now, self.steady)

    def _physics(self) -> None:
        self.steady += STEP_S
        self.offset += self.drift * STEP_S
        self.worker.steady = self.steady
        target = self.driver.target(self.steady)
        self.arm.step(target)
        # A stream is a staircase: its speed is that from one message to the next.
        self._substep = (self._substep + 1) % SUBSTEPS
        if not self._streamed or self._substep == 0:
            self.asked.add(self.steady, target, self.arm.position.copy())

    def displace(self, joint: int, distance: float) -> None:
        """Somebody puts a joint elsewhere, within its limits."""
        low, high = self.contract.lower[joint], self.contract.upper[joint]
        self.arm.position[joint] = np.clip(self.arm.position[joint] + distance, low, high)

    def restart_driver(self, target: np.ndarray | None = None) -> None:
        """The driver forgets its motion and holds the measured pose, or another."""
        self.driver.restart(self.arm.position.copy() if target is None else target)
        self.asked.interrupt()

    # -- surroundings -----------------------------------------------------------------------

    def feed(self) -> None:
        stamp = self.robot_time + self.stamp_offset
        arrival = Arrival.of(stamp, self.robot_time, self.now)
        for camera in self.contract.cameras:
            if camera not in self.lost:
                self.loop.receive_image(camera, image(), arrival)
        if 'states' in self.lost:
            return
        joints = self.arm.position + self.random.uniform(-self.noise, self.noise, 6)
        if self.spoil is not None:
            joints = self.spoil(joints)
        gripper = self.contract.gripper.to_position(1.0)
        self.loop.receive_joint_state(self.contract.names, [*joints, gripper], arrival)

    def policy(self, observation) -> ActionChunk:
        age = self.robot_time - observation.stamp
        times = self.steady - age + 0.1 * np.arange(1, 9) - self._began
        targets = np.tile(HOME, (8, 1))
        # From rest at home up to 0.88 rad/s.
        reach = 0.35 * np.minimum(times / 2.0, 1.0) * np.sin(2 * math.pi * 0.4 * times)
        targets[:, :6] += reach[:, None] * np.array([1, -1, 1, -1, 1, -1])
        if self.misbehave is not None:
            targets = self.misbehave(targets)
        return ActionChunk(
            targets, observation.stamp, self.chunk_period, observation.instruction,
            {'total': 0.0},
        )  # fmt: skip

    # -- requests ---------------------------------------------------------------------------

    def activate(self) -> None:
        self.loop.activate(self.now, 'sway', False)

    def request(self, name: str, *args) -> None:
        getattr(self.loop, name)(*args, self.now)

    def start(self) -> None:
        """Sway for four seconds."""
        self.activate()
        self.run(0.2)
        self._began = self.steady
        assert self.loop.set_enabled(True, self.now).success
        self.run(4.1)
        self.fault_time = self.steady

    def heal(self) -> None:
        """Take all faults away; the operator clears a trip and enables motion."""
        self.lost, self.spoil, self.misbehave = set(), None, None
        self.noise, self.deaf = 1e-5, False
        self.drift = self.stamp_offset = 0.0
        self.chunk_period, self.worker.latency = 0.1, 0.08
        self.arm.lag, self.arm.max_speed = 0.03, 3.0
        self.arm.hand[:] = 0.0
        self.arm.low_wall[:], self.arm.high_wall[:] = -math.inf, math.inf
        if not self.loop.active:
            self.activate()
        self.run(0.1)
        self.request('clear_trip')
        self.run(0.1)
        self.request('set_enabled', True)

    def wait_for_speed(self, joint: int, speed: float = 0.7) -> None:
        for _ in range(200):
            self.run(STEP_S * SUBSTEPS)
            (t0, t1), (q0, q1) = self.asked.times[-2:], self.asked.measured[-2:]
            if (q1 - q0)[joint] > speed * (t1 - t0):
                self.fault_time = self.steady
                return
        # An earlier fault keeps the arm still: then it is blocked where it stands.
        self.fault_time = self.steady
