# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A control loop on made-up clocks, with a worker that answers when a test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from support.motion_helpers import HOME, robot
from vla_adapter_ros.control.front_ends import make_front_end
from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.observation_inputs import Inputs
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

    def submit(self, observe):
        self.jobs.append(observe)
        self.busy_since = self.steady
        return True

    def take_result(self):
        result, self.result = self.result, None
        return result

    def discard(self):
        self.discarded += 1
        self.result = None

    def answer(self, chunk):
        self.busy_since, self.result = None, WorkerResult(chunk)

    def fail(self, error):
        self.busy_since, self.result = None, WorkerResult(None, error)


@dataclass
class Recorder:
    """Everything the loop says, in order."""

    commands: list = field(default_factory=list)
    log: list = field(default_factory=list)
    chunks: int = 0
    changes: int = 0

    def send(self, command):
        self.commands.append(command)

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

    def error(self, text):
        self.log.append(('error', text))

    def changed(self):
        self.changes += 1

    def said(self, part):
        return [text for _, text in self.log if part in text]


class Bench:
    """The loop, its fake surroundings, and an arm that is where it is commanded to be."""

    def __init__(self, robot_name='alicia_d', gate=lambda now: ''):
        self.contract = robot(robot_name)
        self.worker, self.out = FakeWorker(), Recorder()
        safety = SafetyFilter(self.contract)
        scheduler = ChunkScheduler(self.contract, safety=safety)
        self.loop = ControlLoop(
            self.contract, self.worker, scheduler, safety, Inputs(self.contract),
            make_front_end(self.contract), self.out, 1.0, gate,
        )  # fmt: skip
        self.now, self.steady = 100.0, 5.0
        self.arm = HOME.copy()
        self.follows = True
        self.images = self.states = True

    def activate(self, enable=False, instruction='stack'):
        self.loop.activate(self.now, instruction, enable)
        self.run(0.1)

    def feed(self):
        if self.images:
            for camera in self.contract.cameras:
                self.loop.receive_image(camera, image(), self.now, self.now)
        if self.states:
            if self.follows and self.loop.scheduler.started:
                self.arm = self.loop.scheduler.commanded(self.now)[0].copy()
            # Servos are never quite still; what is bit-equal for long is frozen.
            self.arm[0] += 1e-6
            spec = self.contract.gripper
            names = self.contract.names
            positions = [*self.arm[:-1], spec.to_position(float(self.arm[-1]))]
            self.loop.receive_joint_state(names, positions, self.now, self.now)

    def run(self, seconds, until=lambda: False):
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.steady += TICK
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
        """A chunk that moves on from where the arm is, observed now."""
        here = self.loop.scheduler.commanded(self.now)[0]
        moves = np.array([step] * (len(here) - 1) + [0.0])
        actions = here + np.outer(np.arange(1, 9), moves)
        return ActionChunk(actions, self.now, 0.1, 'stack')

    def move(self, step=0.02):
        """Start and be in the middle of a chunk."""
        self.start()
        self.worker.answer(self.chunk(step))
        self.run(0.3)
        assert self.loop.scheduler.moving(self.now)
