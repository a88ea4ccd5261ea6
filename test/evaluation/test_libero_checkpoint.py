# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A network in the official layout plays LIBERO's protocol with a stand-in for the simulator."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from PIL import Image

from support.checkpoint_cases import TOWERS, write_official
from vla_adapter_ros.evaluation.libero import __main__ as libero
from vla_adapter_ros.evaluation.libero.asking import commands_of, observation_for
from vla_adapter_ros.evaluation.libero.episode import (
    AGENT_VIEW,
    GRIPPER,
    POSITION,
    QUATERNION,
    WAIT_STEPS,
    WRIST_VIEW,
    episode,
)
from vla_adapter_ros.evaluation.suites import command
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.weights import official

STEPS = 16  # of an episode after waiting: two queries
INSTRUCTIONS = ('pick up the soup', 'pick up the milk and place it in the basket')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp('official')
    write_official(directory, 'pro')
    Tokenizer.from_texts(['what action should the robot take to ?', *INSTRUCTIONS]).save(directory)
    with pytest.MonkeyPatch.context() as patch:
        for name, tower in TOWERS.items():
            patch.setitem(official.KNOWN_TOWERS, name, tower)
        yield directory


class Scene:
    """Views and states that follow from task, episode and step; the goal is never reached."""

    def __init__(self, task: int, number: int) -> None:
        self.seed, self.commands = (task, number), []

    def reset(self) -> None:
        pass

    def set_init_state(self, _) -> dict:
        return self.observed()

    def step(self, command, images: bool):
        self.commands.append(command)
        return self.observed(), False

    def observed(self, step: int | None = None) -> dict:
        random = np.random.default_rng((*self.seed, len(self.commands) if step is None else step))
        views = random.integers(0, 256, (2, 64, 64, 3), np.uint8)
        return {
            POSITION: random.uniform(-1, 1, 3), QUATERNION: np.array([0.0, 0.0, 0.6, 0.8]),
            GRIPPER: random.uniform(0, 0.04, 2), AGENT_VIEW: views[0], WRIST_VIEW: views[1],
        }  # fmt: skip


class Simulator:
    """In the place of a worker's process."""

    scenes: dict
    together: threading.Barrier

    def __init__(self, *_) -> None:
        pass

    def ask(self, header, arrays=None):
        if header['do'] == 'hello':
            return {'versions': {'mujoco': '3.3.0', 'python': '3.11'}}, {}
        if header['do'] == 'episode':
            self.task = header['task']
            self.scene = self.scenes[self.task, header['episode']] = Scene(
                self.task, header['episode']
            )
            self.run = episode(self.scene, None, STEPS, header['open_loop'])
            if header['episode'] == 0:
                self.together.wait(20)
            return self.observe(next(self.run))
        try:
            return self.observe(self.run.send(arrays['actions'].tolist()))
        except StopIteration as end:
            over = {'success': end.value.success, 'steps': end.value.steps,
                    'queries': end.value.queries, 'fixtures': {}, 'sha256': '',
                    'instruction': INSTRUCTIONS[self.task]}  # fmt: skip
            return {'over': over}, {}

    def observe(self, arrays):
        return {'observe': True, 'instruction': INSTRUCTIONS[self.task]}, arrays

    def close(self) -> None:
        pass


@pytest.fixture
def play(checkpoint, tmp_path, monkeypatch):
    """Run an episode of two tasks; return what each of them was commanded."""
    monkeypatch.setattr(command, 'WorkerProcess', Simulator)

    def run(*arguments: str, workers: int = 1):
        Simulator.scenes, Simulator.together = {}, threading.Barrier(workers)
        status = libero.main(
            [str(checkpoint), '--suite', 'libero_object', '--tasks', '0,1', '--episodes', '1',
             '--device', 'cpu', '--dtype', 'float32', '--workers', str(workers),
             '--out', str(tmp_path), *arguments]
        )  # fmt: skip
        assert status == 0
        return Simulator.scenes

    run.out = tmp_path
    return run


def expected(policy: Policy, key: tuple[int, int]) -> np.ndarray:
    """What a policy commands in an episode, asked for one observation at a time."""
    seen = [
        observation_for(Scene(*key).observed(WAIT_STEPS + step), INSTRUCTIONS[key[0]])
        for step in (0, 8)
    ]
    return np.concatenate([commands_of(policy.predict(each).actions) for each in seen])


@pytest.mark.slow(reason='loads a network with images of 224 pixels: five seconds')
@pytest.mark.parametrize('batch', (1, 2))
def test_a_network_of_the_official_layout_commands_every_episode(play, checkpoint, batch):
    scenes = play('--batch', str(batch), workers=batch)
    assert sorted(scenes) == [(0, 0), (1, 0)]
    policy = Policy.from_pretrained(checkpoint, device='cpu', dtype='float32')
    for key, scene in scenes.items():
        wanted = expected(policy, key)[:, :6]  # the gripper's sign may be that of rounding
        commands = np.array(scene.commands[WAIT_STEPS:])[:, :6]
        assert np.abs(commands - wanted).max() < 0.01 * np.ptp(wanted, axis=0).min()
    (report,) = json.loads((play.out / 'report.json').read_text())
    assert report['queries'] == 4 and report['queries_per_episode'] == 2.0
    identity = report['identity']
    assert identity['batch'] == batch and identity['statistics'] == 'libero_object_no_noops'
    assert {'libero_mujoco', 'policy_torch', 'policy_vla_adapter_ros'} <= set(identity)
    films = sorted((play.out / 'libero_object' / 'failures').iterdir())
    assert [film.name for film in films] == ['00-00.gif', '01-00.gif']
    assert Image.open(films[0]).n_frames == 2
