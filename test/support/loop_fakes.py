# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A control loop on made-up clocks, with a worker that answers when a test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from support.motion_helpers import HOME, robot
from vla_adapter_ros.control.clock import Arrival, MotionClock
from vla_adapter_ros.control.gate import CommandGate
from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.observation_inputs import Inputs
from vla_adapter_ros.control.operator_stop import OperatorStop
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.control.worker import WorkerResult
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.scheduler import ChunkScheduler

TICK = 0.02
PIXELS = np.zeros((480, 640, 3), np.uint8).tobytes()


def image():
    return SimpleNamespace(
        encoding='rgb8', height=480, width=640, step=1920, is_bigendian=0, data=PIXELS
    )


class FakeWorker:
    """Single flight like the real one; `answer` or `fail` ends the job."""

    def __init__(self):
        self.policy = None
        self.busy_since = None
        self.jobs = []
        self.discarded = 0
        self.result = None
        self.steady = 0.0

    @property
    def free(self):
        return self.busy_since is None and self.result is None

    def submit(self, snapshot):
        assert self.free
        self.jobs.append(snapshot)
        self.busy_since = self.steady
        return True

    def take_result(self):
        result, self.result = self.result, None
        return result

    def discard(self):
        self.discarded += 1
        self.result = None

    def answer(self, chunk):
        self.busy_since, self.result = None, WorkerResult(self.jobs[-1], chunk)

    def fail(self, error, damaged=False):
        trace = '' if damaged else f'Traceback: {error}'
        self.busy_since = None
        self.result = WorkerResult(self.jobs[-1], None, error, trace, damaged=damaged)


@dataclass
class Recorder:
    """Everything the loop says, in order."""

    commands: list = field(default_factory=list)
    log: list = field(default_factory=list)
    heartbeats: list = field(default_factory=list)
    chunks: int = 0
    changes: int = 0
    robot_time: float = 0.0
    # Where the arm was measured when each command was sent.
    arms: list = field(default_factory=list)
    arm: object = None

    def send(self, command):
        self.commands.append(command)
        self.arms.append(self.arm)

    def heartbeat(self, stamp):
        self.heartbeats.append(stamp)

    def chunk(self, chunk, sequence):
        self.chunks = sequence

    def plan(self, plan):
        self.log.append(('plan', plan.kind))

    def instruction(self, instruction):
        self.log.append(('instruction', instruction))

    def info(self, text):
        self.log.append(('info', text))

    def warning(self, text):
        self.log.append(('warning', text))

    def error(self, text, trace=''):
        self.log.append(('error', text))
        if trace:
            self.log.append(('trace', trace))

    def changed(self):
        self.changes += 1

    def stamp(self):
        return self.robot_time

    def said(self, part):
        return [text for _, text in self.log if part in text]


class Bench:
    """The loop, its fake surroundings, and an arm that is where it is commanded to be."""

    def __init__(self, robot_name='alicia_d', gate=lambda now: ''):
        self.contract = robot(robot_name)
        self.worker, self.out = FakeWorker(), Recorder()
        self.operator = OperatorStop(clock=lambda: self.steady)
        safety = SafetyFilter(self.contract)
        scheduler = ChunkScheduler(self.contract, safety=safety)
        self.loop = ControlLoop(
            self.contract, self.worker,
            CommandGate(self.contract, scheduler, safety, self.out), Inputs(self.contract),
            self.out, 1.0, gate, self.operator,
        )  # fmt: skip
        self.clock = MotionClock()
        self.robot_time, self.steady = 1000.0, 5.0
        self.simulated = False
        self.delay = 0.0  # age of messages on arrival [s]
        self.arm = HOME.copy()
        self.follows = True
        self.noise = 1e-6
        self.speed = np.inf  # of the arm's joints [rad/s]
        self.obstacle = lambda arm: None
        self.images = self.states = True

    @property
    def now(self):
        return self.clock.now(self.robot_time, self.steady, self.simulated)

    def arrival(self, stamp=None):
        stamp = self.robot_time - self.delay if stamp is None else stamp
        return Arrival.of(stamp, self.robot_time, self.now)

    def activate(self, enable=False, instruction='stack'):
        self.loop.activate(self.now, instruction, enable)
        self.run(0.1)

    def feed(self):
        if self.images:
            for camera in self.contract.cameras:
                self.loop.receive_image(camera, image(), self.arrival())
        if self.states:
            if self.follows and self.loop.scheduler.started:
                step = self.loop.scheduler.commanded(self.now)[0] - self.arm
                self.arm = self.arm + np.clip(step, -self.speed * TICK, self.speed * TICK)
                self.obstacle(self.arm)
            # Servos are never quite still; what is bit-equal for long is frozen.
            self.arm[0] += self.noise
            spec = self.contract.gripper
            names = self.contract.names
            self.out.arm = self.arm.copy()
            positions = [*self.arm[:-1], spec.to_position(float(self.arm[-1]))]
            self.loop.receive_joint_state(names, positions, self.arrival())

    def run(self, seconds, until=lambda: False):
        for _ in range(round(seconds / TICK)):
            self.robot_time += TICK
            self.steady += TICK
            self.out.robot_time = self.robot_time
            self.worker.steady = self.steady
            self.feed()
            self.loop.tick(self.now, self.steady)
            if until():
                return True
        return False

    def start(self):
        """Active, enabled, and asked for a first chunk."""
        self.activate()
        assert self.loop.set_enabled(True, self.now).success
        assert self.run(0.5, lambda: self.worker.busy_since is not None)

    def chunk(self, step=0.02):
        """A chunk that moves on from where the arm is."""
        here = self.loop.scheduler.commanded(self.now)[0]
        moves = np.array([step] * (len(here) - 1) + [0.0])
        actions = here + np.outer(np.arange(1, 9), moves)
        stamp = self.worker.jobs[-1].stamp if self.worker.jobs else self.robot_time
        return ActionChunk(actions, stamp, 0.1, 'stack')

    def move(self, step=0.02):
        """Start and be in the middle of a chunk."""
        self.start()
        self.worker.answer(self.chunk(step))
        self.run(0.3)
        assert self.loop.scheduler.moving(self.now)
