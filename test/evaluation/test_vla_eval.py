# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Between the benchmarks of vla-eval and a policy, without the package."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.libero.asking import commands_of, observation_for
from vla_adapter_ros.evaluation.libero.episode import (
    AGENT_VIEW,
    GRIPPER,
    POSITION,
    QUATERNION,
    WRIST_VIEW,
    proprioception,
)
from vla_adapter_ros.evaluation.suites.policies import ZeroPolicy
from vla_adapter_ros.evaluation.vla_eval.__main__ import main
from vla_adapter_ros.evaluation.vla_eval.forms import form_of, forms, rotation_vector
from vla_adapter_ros.evaluation.vla_eval.sessions import Sessions

RANDOM = np.random.default_rng(3)
CHUNK = RANDOM.uniform(-1, 1, (8, 7))
CHUNK[:, 6] = (0.0, 0.2, 0.49, 0.51, 0.8, 1.0, 1.2, -0.1)


def sent(name: str, **changes) -> dict:
    """An observation as the benchmark sends it."""
    form = form_of(name)
    images = {view: np.full((8, 8, 3), 10 + i, np.uint8) for i, view in enumerate(form.views)}
    return {'images': images, 'states': np.arange(form.state) / 10, 'task_description': 'push',
            **changes}  # fmt: skip


def test_libero_sees_and_commands_what_our_own_evaluation_does():
    raw = {
        POSITION: RANDOM.normal(size=3), QUATERNION: np.array([0.6, 0.0, 0.0, -0.8]),
        GRIPPER: RANDOM.normal(size=2),
        AGENT_VIEW: RANDOM.integers(0, 256, (6, 6, 3), np.uint8),
        WRIST_VIEW: RANDOM.integers(0, 256, (6, 6, 3), np.uint8),
    }  # fmt: skip
    # vla-eval turns the images, and with `quat_no_antipodal` computes the rotation as robosuite.
    message = {
        'images': {'agentview': raw[AGENT_VIEW][::-1, ::-1], 'wrist': raw[WRIST_VIEW][::-1, ::-1]},
        'states': proprioception(raw), 'task_description': 'push',
    }  # fmt: skip
    form = form_of('libero')
    assert form.params['quat_no_antipodal'] and form.params['env_seed'] == 0
    seen, ours = form.observation(form.arrays_of(message, 2), 'push'), observation_for(raw, 'push')
    np.testing.assert_array_equal(seen.proprioception, ours.proprioception)
    assert list(seen.images) == list(ours.images)
    for camera, image in ours.images.items():
        np.testing.assert_array_equal(seen.images[camera], image)
    np.testing.assert_array_equal(form.commands(CHUNK), commands_of(CHUNK))


@pytest.mark.parametrize(
    ('name', 'opened', 'closed'),
    [('libero', -1, 1), ('robocasa', -1, 1), ('calvin', 1, -1), ('simpler', 1, 0)],
)
def test_the_gripper_opens_and_closes(name, opened, closed):
    chunk = np.zeros((2, 7))
    chunk[:, 6] = (1.0, 0.0)
    assert form_of(name).commands(chunk)[:, 6].tolist() == [opened, closed]
    assert form_of(name).benchmark().still == (0.0,) * 6 + (opened,)


def test_calvin_is_given_metres_and_radians_not_fractions():
    commands = form_of('calvin').commands(CHUNK)
    np.testing.assert_allclose(commands[:, :3], CHUNK[:, :3] * 0.02)
    np.testing.assert_allclose(commands[:, 3:6], CHUNK[:, 3:6] * 0.05)


def test_simpler_is_given_rotation_vectors():
    commands = form_of('simpler').commands(CHUNK)
    np.testing.assert_array_equal(commands[:, :3], CHUNK[:, :3])
    np.testing.assert_allclose(commands[0, 3:6], rotation_vector(*CHUNK[0, 3:6]))


@pytest.mark.parametrize('angles', [*RANDOM.uniform(-3, 3, (6, 3)), (0, 0, 0), (1e-9, 0, 0)])
def test_a_rotation_vector_turns_as_its_angles_do(angles):
    def turn(axis: np.ndarray, angle: float) -> np.ndarray:
        x, y, z = axis
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross

    roll, pitch, yaw = angles
    axes = np.eye(3)
    expected = turn(axes[2], yaw) @ turn(axes[1], pitch) @ turn(axes[0], roll)
    vector = rotation_vector(*angles)
    length = np.linalg.norm(vector)
    found = turn(vector / max(length, 1e-300), length)
    np.testing.assert_allclose(found, expected, atol=1e-12)


class Counting(ZeroPolicy):
    """Numbers its queries in x, and the actions of a chunk in y."""

    def __init__(self, name: str) -> None:
        super().__init__(form_of(name).benchmark())
        self.questions: list = []

    def __call__(self, questions):
        answers = []
        for question in questions:
            self.questions.append(question)
            chunk = np.zeros((8, 7))
            chunk[:, 0], chunk[:, 1] = len(self.questions), np.arange(8)
            answers.append(chunk)
        return answers


def step(sessions: Sessions, session: str, message: dict) -> list[float]:
    action = sessions.promised(session, message)
    if action is None:
        (action,) = sessions.ask([session], [message])
    assert action.shape == (7,) and action.dtype == np.float32
    return action[:2].tolist()


def test_a_chunk_is_executed_open_loop_and_each_run_has_its_own():
    policy = Counting('libero')
    sessions = Sessions(form_of('libero'), policy, 3, 2)
    first = [step(sessions, 'a', sent('libero')) for _ in range(4)]
    assert first == [[1, 0], [1, 1], [1, 2], [2, 0]]
    assert step(sessions, 'b', sent('libero')) == [3, 0]
    assert step(sessions, 'a', sent('libero')) == [2, 1]
    sessions.begin('a')
    assert step(sessions, 'a', sent('libero')) == [4, 0]
    assert step(sessions, 'b', sent('libero')) == [3, 1]
    header, arrays = policy.questions[0]
    assert header['instruction'] == 'push'
    assert set(arrays) == {'agentview', 'wrist', 'states'}


def test_the_next_task_of_a_calvin_chain_begins_with_a_query():
    policy = Counting('calvin')
    sessions = Sessions(form_of('calvin'), policy, 8, 2)
    assert step(sessions, 'a', sent('calvin')) == [1, 0]
    assert step(sessions, 'a', sent('calvin')) == [1, 1]
    assert step(sessions, 'a', sent('calvin', episode_restart=True)) == [2, 0]


def test_several_runs_are_asked_for_at_once():
    policy = Counting('libero')
    sessions = Sessions(form_of('libero'), policy, 8, 1)
    actions = sessions.ask(['a', 'b'], [sent('libero'), sent('libero')])
    assert [action[0] for action in actions] == [1, 2]
    assert sessions.promised('b', {})[:2].tolist() == [2, 1]


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'images': {'primary': np.zeros((4, 4, 3), np.uint8)}}, "no RGB image 'agentview'"),
        ({'images': {'agentview': np.zeros((4, 4, 3))}}, "no RGB image 'agentview'"),
        ({'images': None}, "no RGB image 'agentview'"),
        ({'states': np.zeros(9)}, r'state of shape \(9,\), libero has 8 numbers'),
        ({'states': ()}, r'state of shape \(0,\)'),
    ],
)
def test_an_observation_of_another_benchmark_is_refused_in_a_sentence(changes, reason):
    sessions = Sessions(form_of('libero'), Counting('libero'), 8, 2)
    with pytest.raises(VLAAdapterError, match=reason):
        sessions.ask(['a'], [sent('libero', **changes)])


@pytest.mark.parametrize('name', sorted(forms()))
def test_every_form_is_whole(name):
    form = form_of(name)
    assert form.commands(CHUNK).shape == CHUNK.shape
    assert form.observation(form.arrays_of(sent(name), len(form.views)), 'x').images
    assert len(form.specs) == 3 and form.differs


def test_an_unknown_benchmark_or_a_missing_package_is_one_sentence(capsys):
    with pytest.raises(VLAAdapterError, match='expected one of libero, libero_plus'):
        form_of('rlbench')
    try:
        import vla_eval  # noqa: F401
    except ImportError:
        assert main(['zero', '--benchmark', 'libero', '--port', '0']) == 1
        assert 'pip install -r requirements/vla_eval.txt' in capsys.readouterr().err


@pytest.mark.parametrize(('host', 'port'), [('127.0.0.1', None), ('127.0.0.1', 70000), ('?', 1)])
def test_an_address_that_cannot_be_used_is_one_sentence(capsys, host, port):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = port or taken.getsockname()[1]
        assert main(['zero', '--benchmark', 'libero', '--host', host, '--port', str(port)]) == 1
    said = capsys.readouterr().err
    assert f'cannot listen on {host}:{port}: ' in said and said.count('\n') == 1
