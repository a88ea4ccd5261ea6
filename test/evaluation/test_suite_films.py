# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Films of failures: which queries they show."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vla_adapter_ros.evaluation.suites.films import Films
from vla_adapter_ros.evaluation.suites.policies import Benchmark
from vla_adapter_ros.evaluation.suites.pool import Finished
from vla_adapter_ros.processing.observation import Observation

SEEN = Benchmark(
    'a benchmark',
    lambda arrays, words: Observation({'third_person': arrays['view']}, np.zeros(8), words, 0.0),
    np.asarray,
    (0.0,) * 7,
)


@pytest.fixture
def film(tmp_path):
    def run(queries: list[tuple[int, str]], every: int = 1, solved: bool = False) -> int | None:
        """Play one episode: (attempt, instruction) of its queries; return the film's pictures."""
        films = Films(tmp_path, 1, SEEN, lambda header: (header['n'],), lambda over: solved, every)
        ask = films.watching(lambda questions: [np.zeros((8, 7))] * len(questions))
        for number, (attempt, instruction) in enumerate(queries):
            view = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
            ask([({'n': 7, 'attempt': attempt, 'instruction': instruction}, {'view': view})])
        list(films.written(iter([Finished({'n': 7}, {}, '', 1, 1.0, 0.5)])))
        (file,) = list(tmp_path.glob('*.gif')) or [None]
        return file and Image.open(file).n_frames

    return run


def test_a_chain_s_film_shows_the_task_that_failed(film):
    assert film([(1, 'lift')] * 4 + [(1, 'push')] * 3) == 3


def test_a_second_attempt_begins_a_new_film(film):
    assert film([(1, 'lift')] * 4 + [(2, 'lift')] * 2) == 2


def test_of_averaged_chunks_one_picture_a_cycle_is_shown(film):
    assert film([(1, 'lift')] * 7, every=3) == 3


def test_a_success_has_no_film(film):
    assert film([(1, 'lift')], solved=True) is None
