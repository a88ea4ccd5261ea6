# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""CALVIN's table with its oracle, for `worker.py` in the interpreter that has PyBullet.

The scene is built from the configuration in the checkout of CALVIN, as the validation data of
ABC→D name it: no data set is needed. Cameras are rendered only when the policy looks.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.calvin.episode import RawObservation

STATIC_VIEW, GRIPPER_VIEW, STATE = 'rgb_static', 'rgb_gripper', 'robot_obs'
GRIPPER_OPEN = 1.0
PACKAGES = ('numpy', 'scipy', 'pybullet')
SOURCES = Path('calvin_env')  # in the checkout, as the next two
TASKS = SOURCES / 'conf' / 'tasks' / 'new_playtable_tasks.yaml'
INSTRUCTIONS = Path('calvin_models', 'conf', 'annotations', 'new_playtable_validation.yaml')
SCENE = 'calvin_scene_D'
NO_EGL = (
    "PyBullet's EGL renderer cannot be loaded; the software renderer draws other images than "
    'the policies were trained on, so it is not used: install the EGL libraries of the GPU driver '
    'or of Mesa (libegl1)'
)


def versions(folder: Path) -> dict[str, str]:
    """Return the versions that decide what CALVIN draws, how it moves and what it counts."""
    found = {'python': platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in PACKAGES}
    found['calvin_env'] = _commit(folder / SOURCES)
    for name, path in (('tasks', TASKS), ('instructions', INSTRUCTIONS)):
        found[f'{name}_sha256'] = hashlib.sha256((folder / path).read_bytes()).hexdigest()[:16]
    return found


def prepare_import(folder: Path) -> None:
    """Make the simulator of a checkout importable.

    Raises:
        ImportError: the folder is no checkout of CALVIN, or a package is missing.
    """
    for path in (TASKS, INSTRUCTIONS):
        if not (folder / path).is_file():
            raise ImportError(
                f'{folder}: no checkout of CALVIN with its submodule calvin_env, {path} is '
                'missing; git clone --recurse-submodules https://github.com/mees/calvin'
            )
    if (sources := str(folder / SOURCES)) not in sys.path:
        sys.path.insert(0, sources)
    try:
        import calvin_env.envs.play_table_env  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'{error} in {sys.executable}; scripts/calvin_env.sh makes an environment for CALVIN'
        ) from None


def _commit(folder: Path) -> str:
    """Return the commit of a checkout, with + after it if files were changed."""
    git = ('git', '-c', 'safe.directory=*', '-C', str(folder))
    try:
        head = subprocess.run([*git, 'rev-parse', 'HEAD'], capture_output=True, check=True)
        diff = subprocess.run([*git, 'diff', '--quiet', 'HEAD'], capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f'{folder}: its commit cannot be read ({error}); calvin_env needs a git checkout'
        ) from None
    return head.stdout.decode().strip() + '+' * bool(diff.returncode)


class CalvinTable:
    """The table of scene D: an `Environment` of `episode.py`.

    Args:
        folder: the checkout of CALVIN.

    Attributes:
        instructions: task → what the policy is told.
        gripper: command that the next reset leaves in the state; CALVIN's own reset keeps the
            last one.
        always_render: render every observation; for comparison.

    Raises:
        ImportError: see `prepare_import`.
        RuntimeError: no EGL.
    """

    def __init__(self, folder: Path) -> None:
        prepare_import(folder)
        from calvin_env.envs.tasks import Tasks
        from omegaconf import OmegaConf

        instructions = OmegaConf.to_container(OmegaConf.load(folder / INSTRUCTIONS))
        self.instructions = {task: texts[0] for task, texts in instructions.items()}
        self._oracle = Tasks(OmegaConf.load(folder / TASKS).tasks)
        self._conf = folder / SOURCES / 'conf'
        self._images = True
        self.gripper = GRIPPER_OPEN
        self.always_render = False
        self._env: Any = None
        self._build()

    def reset(self, robot_obs: np.ndarray, scene_obs: np.ndarray) -> None:
        """Put robot and scene where a start state says, in a simulator built anew.

        CALVIN's own reset keeps what Bullet remembers: a chain would differ by millimetres,
        depending on the chains before it.
        """
        if self._used:
            self._build()
        self._used = True
        self._images = self.always_render
        self._env.robot.gripper_action = self.gripper
        self._env.reset(robot_obs=robot_obs, scene_obs=scene_obs)

    def get_obs(self) -> RawObservation:
        """Return the observation of now, with images."""
        self._images = True
        return self._flat(self._env.get_obs())

    def get_info(self) -> Any:
        """Return the state of the scene that the oracle compares with."""
        return self._env.get_info()

    def step(self, command: Sequence[float], images: bool) -> RawObservation:
        """Execute one command; see `Environment`."""
        self._images = images or self.always_render
        # A copy in floats: calvin_env scales what it is given in place.
        observation, _, _, self._info = self._env.step(np.array(command, np.float64))
        self.gripper = float(command[-1])
        return self._flat(observation)

    def solved(self, start: Any, task: str) -> bool:
        """Return whether a task is done, compared with the scene at its start."""
        return bool(self._oracle.get_task_info_for_set(start, self._info, {task}))

    def _build(self) -> None:
        import hydra

        if self._env is not None:
            self._env.close()
            self._env.ownsPhysicsClient = False  # its destructor would close the next one
        try:
            self._env = hydra.utils.instantiate(
                _configuration(self._conf).env, show_gui=False, use_vr=False, use_scene_info=True
            )
        except SystemExit:  # calvin_env ends the process where the plugin is refused
            raise RuntimeError(NO_EGL) from None
        self._render = self._env.get_camera_obs
        self._env.get_camera_obs = self._camera_observations
        self._render()  # the first picture is drawn differently; CALVIN throws it away, too
        self._used = False

    def _camera_observations(self) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
        return self._render() if self._images else ({}, {})

    def _flat(self, observation: Mapping[str, Any]) -> RawObservation:
        return {STATE: observation[STATE], **observation['rgb_obs']}


def _configuration(conf: Path) -> Any:
    """Return the configuration of the validation data: scene D, two cameras, EGL."""
    from omegaconf import OmegaConf

    def load(name: str) -> Any:
        return OmegaConf.load(conf / f'{name}.yaml')

    robot = OmegaConf.merge(load('robot/panda'), load('robot/panda_longer_finger'))
    robot.pop('defaults')
    cameras = {name: load(f'cameras/cameras/{name}') for name in ('static', 'gripper')}
    return OmegaConf.create(
        {'seed': 0, 'use_vr': False, 'data_path': 'data', 'scene': load(f'scene/{SCENE}'),
         'robot': robot, 'cameras': cameras, 'env': load('env/play_table_env')}
    )  # fmt: skip
