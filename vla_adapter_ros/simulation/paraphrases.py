# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Other ways to say the instructions of simulated demonstrations, for `data.paraphrases`.

python -m vla_adapter_ros.simulation.paraphrases datasets/tiny_sim_* --out paraphrases.yaml
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.simulation.goals import Goal
from vla_adapter_ros.simulation.instructions import parse_instruction
from vla_adapter_ros.simulation.layout import OBJECT_NAMES, PLATE_NAME
from vla_adapter_ros.simulation.wordings import VARIED, WORDS, describe

_NAMES = (*OBJECT_NAMES, PLATE_NAME)


def paraphrase(
    instructions: Iterable[str], each: int, words: str = VARIED, seed: int = 0
) -> list[list[str]]:
    """Return groups of sentences with the same goal: the instructions, and others.

    Args:
        instructions: of the demonstrations.
        each: other sentences drawn for a goal; those drawn twice are in the group once.
        words: one of WORDS.
        seed: of the draws.

    Raises:
        InstructionError: a sentence is not one of the simulation.
    """
    goals: dict[Goal, list[str]] = {}
    for text in sorted(set(instructions)):
        goals.setdefault(parse_instruction(text, _NAMES), []).append(text)
    rng = np.random.default_rng(seed)
    groups = []
    for goal, said in goals.items():
        drawn = [describe(goal, rng, words) for _ in range(each)]
        groups.append(list(dict.fromkeys(said + drawn)))
    return [group for group in groups if len(group) > 1]


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.simulation.paraphrases',
        description='Write other ways to say the instructions of simulated demonstrations; '
        'training with data.paraphrases=FILE takes a new one for every sample.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('datasets', nargs='+', help='folders of `simulation.collect`')
    add('--out', type=Path, required=True, help='YAML file to write')
    add('--each', type=int, default=60, help='sentences drawn for each goal')
    add('--words', default=VARIED, choices=WORDS, help='wordings of the sentences')
    add('--seed', type=int, default=0, help='of the draws')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser()
    options: Any = parser.parse_args(arguments)
    if options.each < 1:
        parser.error('--each must be at least 1')
    try:
        said = {e.instruction for path in options.datasets for e in open_source(path).episodes}
        groups = paraphrase(said, options.each, options.words, options.seed)
        options.out.write_text(yaml.safe_dump(groups, width=1000, sort_keys=False))
    except (VLAAdapterError, OSError) as error:
        print(f'paraphrases: {error}', file=sys.stderr)
        return 1
    print(f'{len(said)} instructions, {len(groups)} goals, {sum(map(len, groups))} sentences')
    return 0


if __name__ == '__main__':
    sys.exit(main())
