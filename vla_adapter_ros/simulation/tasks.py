# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Tasks: a random table, an instruction, a success predicate and a time limit.

The five tasks follow the real-world categories of the VLA-Adapter paper (section 4.4): pick and
place, move left or right, stack, and long horizon, after reaching as the easiest rung.
`tabletop` has no instruction of its own: it is the demo's scene, where the user instructs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.kinematics import Kinematics
from vla_adapter_ros.simulation.arm_simulation import (
    READY_JOINTS,
    ArmSimulation,
    arm_kinematics,
    gripper_down,
)
from vla_adapter_ros.simulation.goals import (
    DIRECTIONS,
    Goal,
    Move,
    Order,
    Place,
    PutIn,
    Reach,
    SceneState,
    Sequence,
    Stack,
    scene_state,
)
from vla_adapter_ros.simulation.instructions import parse_instruction
from vla_adapter_ros.simulation.layout import (
    BOWL,
    COLOURS,
    PLATE_NAME,
    PlacementRules,
    SceneOptions,
    draw_names,
    sample_layout,
)
from vla_adapter_ros.simulation.levels.ranges import NOMINAL, find_level
from vla_adapter_ros.simulation.wordings import TRAINED, describe

ALL_SHAPES = ('block', 'cylinder', 'ball')
KITCHEN_SHAPES = ('duck', 'cup', 'spoon')
STACKED_SHAPES = ('block', *KITCHEN_SHAPES)  # those that stay on a block
# Where a pushed object goes, and where the fingers come down to push it [m along y].
PUSH_LENGTH, PUSH_APPROACH = 0.09, 0.05
# Random start poses of the tool: around this position [m], turned by up to this angle [rad].
READY_TOOL = (0.235, 0.0, 0.13)
MAX_START_YAW = 0.25
# Control steps for which success must last.
SETTLE_STEPS = 4


@dataclass(frozen=True)
class TaskOptions:
    """How a task's episodes vary.

    Attributes:
        distractors: objects on the table beside those the goal needs.
        random_wording: draw the wording (else the plain one).
        start_spread: half width [m] of the box around the ready pose in which the tool starts;
            None: the level's.
        closed_start: chance that the gripper starts closed, as after pushing; None: the level's.
        level: how much else varies (`levels.ranges`).
        words: from which the wording is drawn (`wordings.WORDS`).
        alike: chance that objects share their colours and differ in shape where they can.
    """

    distractors: int = 2
    random_wording: bool = True
    start_spread: float | None = None
    closed_start: float | None = None
    level: str = NOMINAL
    words: str = TRAINED
    alike: float = 0.0


@dataclass(frozen=True)
class TaskSpec:
    """Definition of a task.

    Attributes:
        name: as given on command lines, and the key in JSON.
        title: what is judged, as tables for people name it.
        summary: one line for help texts.
        horizon: time limit in steps of 0.1 s, 2.4 to 3.5 times what the expert needs on average.
        shapes: shapes of its objects.
        needed: number of objects the goal names.
        plate: chance of a plate on the table.
        draw_goal: names, rng → goal; None: the user gives the instruction.
        base: shape of one more thing, which carries others; it comes last in the names that
            `draw_goal` gets.
        lifts: an episode in which nothing was lifted has failed at the grasp.
    """

    name: str
    title: str
    summary: str
    horizon: int
    shapes: tuple[str, ...]
    needed: int
    plate: float
    draw_goal: Callable[[list[str], np.random.Generator], Goal] | None
    base: str = ''
    lifts: bool = True


def _draw_reach(names: list[str], rng: np.random.Generator) -> Goal:
    return Reach(names[0])


def _draw_move(names: list[str], rng: np.random.Generator) -> Goal:
    return Move(names[0], list(DIRECTIONS)[int(rng.integers(2))])


def _draw_place(names: list[str], rng: np.random.Generator) -> Goal:
    return Place(names[0])


def _draw_stack(names: list[str], rng: np.random.Generator) -> Goal:
    return Stack(names[0], names[1])


def _draw_long(names: list[str], rng: np.random.Generator) -> Goal:
    return Sequence((Place(names[0]), Place(names[1])))


def _draw_put_in(names: list[str], rng: np.random.Generator) -> Goal:
    return PutIn(names[0], names[-1])


def _draw_put_on(names: list[str], rng: np.random.Generator) -> Goal:
    return Place(names[0]) if rng.random() < 0.5 else Stack(names[0], names[-1])


TASKS: Mapping[str, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec('reach', 'reach', 'bring the gripper over the named object', 40, ALL_SHAPES, 1,
                 0.5, _draw_reach, lifts=False),
        TaskSpec('move', 'left or right', 'push the named block to the left or right', 80,
                 ('block',), 1, 0.3, _draw_move, lifts=False),
        TaskSpec('pick_and_place', 'on the plate', 'put the named object on the plate', 120,
                 ALL_SHAPES, 1, 1.0, _draw_place),
        TaskSpec('stack', 'stack', 'stack one block on another', 120, ('block',), 2, 0.5,
                 _draw_stack),
        TaskSpec('long_horizon', 'two objects, in order',
                 'put two objects on the plate, in the order named', 240,
                 ('block', 'cylinder'), 2, 1.0, _draw_long),
        TaskSpec('put_in', 'in the bowl', 'put a duck, cup, spoon, block or ball in the bowl', 120,
                 (*KITCHEN_SHAPES, 'block', 'ball'), 1, 0.3, _draw_put_in, base=BOWL),
        TaskSpec('put_on', 'on the plate or a block',
                 'put a duck, cup or spoon on the plate or on a block', 120,
                 KITCHEN_SHAPES, 1, 1.0, _draw_put_on, base='block'),
        TaskSpec('tabletop', 'as the user says',
                 'three blocks and a plate; the user gives the instruction', 240,
                 ('block',), 1, 1.0, None, lifts=False),
    )
}  # fmt: skip
INSTRUCTED_TASKS = tuple(name for name, spec in TASKS.items() if spec.draw_goal is not None)
# Those that the policy that ships was trained for; it has never seen kitchen things.
EVALUATED_TASKS = tuple(
    name for name in INSTRUCTED_TASKS if not set(TASKS[name].shapes) & set(KITCHEN_SHAPES)
)


def task_title(name: str) -> str:
    """Return what a task judges, for tables; of a task that is not ours, its name."""
    return TASKS[name].title if name in TASKS else name


def random_goal(state: SceneState, rng: np.random.Generator) -> Goal:
    """Return a goal that a scene of blocks allows and that is not yet reached.

    It stands for the next request of a user, on the table as it is.
    """
    blocks = [name for name in state.objects if name.endswith('block')]
    while True:
        target, base = (blocks[int(i)] for i in rng.permutation(len(blocks))[:2])
        choices: list[Goal] = [Reach(target), Stack(target, base)]
        choices.append(Move(target, list(DIRECTIONS)[int(rng.integers(2))]))
        if PLATE_NAME in state.objects:
            choices.append(Place(target))
        goal = choices[int(rng.integers(len(choices)))]
        if not goal.done(state, state):
            return goal


@lru_cache(maxsize=1)
def _kinematics() -> Kinematics:
    return arm_kinematics()


def random_start(rng: np.random.Generator, spread: float) -> tuple[float, ...]:
    """Return (6,) joint positions [rad] with the tool within `spread` [m] of the ready pose.

    The height varies by at most 3 cm downward and not upward (the wrist's limit is near), the
    gripper's turn in proportion to the spread. `spread` 0 returns the ready pose.
    """
    draw = rng.uniform(-1.0, 1.0, 4)
    if spread == 0.0:
        return READY_JOINTS
    offset = spread * draw[:3] * (1.0, 1.5, 0.4) - (0.0, 0.0, 0.4 * spread)
    yaw = math.pi + MAX_START_YAW * draw[3] * min(1.0, spread / 0.04)
    joints, _ = _kinematics().solve(
        np.array(READY_TOOL) + offset, gripper_down(yaw), np.array(READY_JOINTS)
    )
    return tuple(float(angle) for angle in joints)


class Task:
    """One task on one simulation: reset, then read instruction and success."""

    def __init__(self, spec: TaskSpec, options: TaskOptions | None = None) -> None:
        self.spec = spec
        self.options = options or TaskOptions()
        self.goal: Goal | None = None
        self.instruction = ''
        self._settled = 0
        self._wording: np.random.Generator | None = None
        self._order = Order()

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.spec.name

    @property
    def horizon(self) -> int:
        """Time limit in control steps of 0.1 s."""
        return self.spec.horizon

    def reset(self, simulation: ArmSimulation, seed: int | None = None) -> str:
        """Set up a random episode and return its instruction ('' if the user gives it).

        The same seed gives the same table, start pose, look and instruction.
        """
        rng = np.random.default_rng(seed)
        count = self.spec.needed + self.options.distractors
        # No draw where it is not asked for: the seeds keep their scenes.
        alike = self.options.alike > 0.0 and bool(rng.random() < self.options.alike)
        names = draw_names(rng, count, self.spec.shapes, alike)
        if self.spec.base:
            names.append(f'{list(COLOURS)[int(rng.integers(len(COLOURS)))]} {self.spec.base}')
        goal = self.spec.draw_goal(names, rng) if self.spec.draw_goal else None
        scene = SceneOptions(
            objects=tuple(names[int(i)] for i in rng.permutation(len(names))),
            plate=bool(rng.random() < self.spec.plate),
            level=self.options.level,
        )
        layout = sample_layout(rng, scene, _rules(goal))
        spread, closed = self.options.start_spread, self.options.closed_start
        level = find_level(self.options.level)
        start = random_start(rng, level.start_spread if spread is None else spread)
        gripper = float(rng.random() >= (level.closed_start if closed is None else closed))
        layout = replace(layout, start_joints=start, start_gripper=gripper)
        simulation.reset(options=scene, layout=layout)
        self.goal, self.instruction = goal, ''
        if goal is not None:
            # Kept as it is now, so that the same wording can name another object.
            self._wording = copy.deepcopy(rng) if self.options.random_wording else None
            self.instruction = self.worded(goal)
        self._begin(simulation)
        return self.instruction

    def worded(self, goal: Goal) -> str:
        """Return the instruction of a goal in the words of this episode."""
        return describe(goal, copy.deepcopy(self._wording), self.options.words)

    def set_instruction(self, simulation: ArmSimulation, text: str) -> Goal:
        """Accept a new instruction; success is relative to the present scene.

        Raises:
            InstructionError: the scene cannot do that; the message lists what it can.
        """
        self.goal = parse_instruction(text, simulation.object_names)
        self.instruction = text.strip()
        self._begin(simulation)
        return self.goal

    def _begin(self, simulation: ArmSimulation) -> None:
        self.start = scene_state(simulation)
        self._settled = 0
        self._order = Order()

    def success(self, simulation: ArmSimulation) -> bool:
        """Return whether the scene shows the instruction done (False without one)."""
        return self.goal is not None and self.goal.done(scene_state(simulation), self.start)

    def settled(self, simulation: ArmSimulation) -> bool:
        """Return whether success has lasted; ask once per control step.

        Passing over an object towards another place, or a stack about to fall, is not success,
        and neither is a sequence in another order.
        """
        if self.goal is not None:
            self._order.look(self.goal, scene_state(simulation), self.start)
        self._settled = self._settled + 1 if self.in_order and self.success(simulation) else 0
        return self._settled >= SETTLE_STEPS

    @property
    def in_order(self) -> bool:
        """Whether the parts of a sequence were done in the order that was asked for, so far."""
        return self._order.kept


def make_task(name: str, options: TaskOptions | None = None) -> Task:
    """Return a task by name.

    Raises:
        VLAAdapterError: no such task; the message lists the names.
    """
    if name not in TASKS:
        raise VLAAdapterError(f'task {name!r} is unknown; known tasks: {", ".join(TASKS)}')
    return Task(TASKS[name], options)


def _rules(goal: Goal | None) -> PlacementRules:
    """Keep the path of a pushed block free."""
    if not isinstance(goal, Move):
        return PlacementRules()
    sign = DIRECTIONS[goal.direction]
    points = [(0.0, sign * PUSH_LENGTH), (0.0, 0.5 * sign * PUSH_LENGTH),
              (0.0, -sign * PUSH_APPROACH)]  # fmt: skip
    return PlacementRules({goal.target: points})
