# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The checkpoint that ships: complete, small, of known origin, with a report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vla_adapter_ros.evaluation import simulate
from vla_adapter_ros.evaluation.rollout import EpisodeJob
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation.goals import DIRECTIONS, Move, Place, Reach, Sequence, Stack
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS
from vla_adapter_ros.simulation.wordings import WORDS, describe
from vla_adapter_ros.weights.directory import checkpoint_fingerprint

FOLDER = shipped_checkpoint()
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason='no checkpoint ships in vla_adapter_ros/checkpoints/tiny_sim yet'
)
CONTRACT = resolve_contract('alicia_d_sim')
LARGEST = 25e6
# Where it comes from: the log of its training, what it was trained with, what it can do.
LOG, RECIPE, REPORT = 'metrics.jsonl', 'recipe.yaml', 'report.json'
# Seeds from 0 on are for evaluation; demonstrations begin at 1 000 000.
SEEDS = 4
BENCH_FLOOR = {'reach': 7, 'move': 7, 'pick_and_place': 6, 'stack': 7, 'long_horizon': 6}
FLOOR = {'reach': 3, 'move': 3, 'pick_and_place': 3, 'stack': 3}


def report_rates() -> dict[str, float]:
    """Task → measured success rate of the shipped report."""
    policies = json.loads((FOLDER / REPORT).read_text())['policies']
    assert len(policies) >= 1
    tasks = next(iter(policies.values()))['tasks']
    return {name: summary['success']['rate'] for name, summary in tasks.items()}


def test_it_is_small_and_holds_what_it_needs_and_nothing_else():
    files = [path for path in FOLDER.rglob('*') if path.is_file()]
    names = {path.name for path in files}
    assert {'model.safetensors', 'vla_adapter.json', LOG, RECIPE, REPORT} <= names
    assert sum(path.stat().st_size for path in files) <= LARGEST
    assert 'training_state.pt' not in names, 'needed to resume, not to run'


def test_its_training_log_shows_that_it_learned():
    lines = [json.loads(line) for line in (FOLDER / LOG).read_text().splitlines()]
    losses = [line['train/loss'] for line in lines if 'train/loss' in line]
    assert len(losses) >= 20 and np.isfinite(losses).all()
    fifth = len(losses) // 5
    assert np.mean(losses[-fifth:]) < 0.5 * np.mean(losses[:fifth])


def test_its_report_has_every_task_and_meets_the_floor():
    rates = report_rates()
    assert set(rates) == set(EVALUATED_TASKS)
    for task, solved in FLOOR.items():
        assert rates[task] >= solved / SEEDS, f'{task}: the report says {rates[task]:.0%}'


def test_its_reports_are_of_this_checkpoint():
    reports = sorted(FOLDER.glob('report*.json'))
    assert len(reports) == 3
    for report in reports:
        (made,) = json.loads(report.read_text())['made_with'].values()
        assert made['fingerprint'] == checkpoint_fingerprint(FOLDER), report.name


def test_it_knows_the_words_of_its_training_and_names_the_others_of_its_list():
    tokenizer = Tokenizer.from_directory(FOLDER)
    rng = np.random.default_rng(0)
    things = ('red block', 'green cylinder', 'blue ball', 'yellow block')
    for _ in range(200):
        first, second = (str(thing) for thing in rng.choice(things, 2, replace=False))
        move = Move(first, str(rng.choice(list(DIRECTIONS))))
        both = Sequence((Place(first), Place(second)))
        for goal in (Reach(first), move, Place(first), Stack(first, second), both):
            for words in WORDS:
                assert tokenizer.unknown_words(describe(goal, rng, words)) == []
    assert tokenizer.trained < tokenizer.words
    asked = 'gently open the drawer and put the black cup into the tray'
    unknown = ['gently', 'open', 'drawer', 'black', 'cup', 'into', 'tray']
    assert tokenizer.unknown_words(asked) == unknown


def test_it_loads_for_the_simulated_arm_and_answers_in_finite_numbers():
    policy = Policy.from_pretrained(FOLDER, device='cpu', dtype='float32', threads=1)
    assert CONTRACT.differences(policy.contract) == []
    rng = np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256, (camera.height, camera.width, 3), np.uint8)
        for name, camera in CONTRACT.cameras.items()
    }
    state = np.array([0.0, 0.0, 0.44, 0.0, -1.2, 0.0, 1.0])
    chunks = [
        policy.predict(Observation(images, state, words, 0.0)).actions
        for words in ('reach the red block', 'put the blue ball on the plate')
    ]
    assert chunks[0].shape == (8, 7)
    assert np.isfinite(chunks).all()
    assert np.abs(chunks[0] - chunks[1]).max() > 1e-3, 'the instruction makes a difference'


@pytest.mark.parametrize(
    ('floor', 'seeds', 'in_all'),
    [
        (dict.fromkeys(EVALUATED_TASKS, 1), 2, 8),
        pytest.param(
            BENCH_FLOOR, 8, 36, marks=pytest.mark.slow(reason='40 episodes; ten are run always')
        ),
    ],
    ids=['two scenes', 'eight scenes'],
)
def test_it_reaches_its_floor_under_other_light_cameras_and_servos(floor, seeds, in_all):
    options = simulate.make_parser().parse_args(['shipped', '--level', 'bench'])
    jobs = [EpisodeJob(task, seed) for task in floor for seed in range(seeds)]
    settings = simulate.settings_from(options, 'shipped')
    results = [result for _, result, _ in simulate.run_jobs(settings, jobs, 1)]
    solved = {task: sum(r.success for r in results if r.task == task) for task in floor}
    told = '; '.join(f'{r.task} {r.seed}: {r.reason}' for r in results if not r.success)
    assert all(solved[task] >= least for task, least in floor.items()), f'{solved}; {told}'
    assert sum(solved.values()) >= in_all, f'{solved}; {told}'
