# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The suites of LIBERO and LIBERO-PRO: their limits, and the success rates that were published."""

from __future__ import annotations

from dataclasses import dataclass, replace

TASKS = 10
EPISODES = 50  # of each task: one per initial state


@dataclass(frozen=True)
class Suite:
    """One suite.

    Attributes:
        title: as the paper calls it.
        max_steps: of an episode after waiting; at 20 Hz.
        paper: success rates [%] of VLA-Adapter and VLA-Adapter-Pro; None where none are given.
        tasks: how many.
        base: of a perturbed suite, the one that it perturbs; its policies are evaluated.
        own_words: whether the policy is told the sentence of the task's description. Otherwise
            it is told the name of its file, as in the training data.
    """

    title: str
    max_steps: int
    paper: tuple[float, float] | None
    tasks: int = TASKS
    base: str | None = None
    own_words: bool = False


STANDARD = {
    'libero_spatial': Suite('Spatial', 220, (97.8, 99.6)),
    'libero_object': Suite('Object', 280, (99.2, 99.6)),
    'libero_goal': Suite('Goal', 300, (97.2, 98.2)),
    'libero_10': Suite('Long', 520, (95.0, 96.4)),
    'libero_90': Suite('90', 400, None, tasks=90),
}
PUBLISHED = tuple(name for name, suite in STANDARD.items() if suite.paper)  # `--suite all`
# Of LIBERO-PRO: what is perturbed, and whether the words are. There the description has the
# perturbed sentence, under the file name of the original: told the name, a policy would be judged
# by a task that it was never given, and other words would change nothing.
PERTURBATIONS = {
    'lan': ('other words', True),
    'object': ('other objects', False),
    'swap': ('other positions', False),
    'task': ('another task', True),
}
SUITES = {
    **STANDARD,
    **{
        f'{name}_{suffix}': replace(
            STANDARD[name], title=f'PRO {STANDARD[name].title}, {what}', paper=None, base=name,
            own_words=own_words,
        )
        for name in PUBLISHED
        for suffix, (what, own_words) in PERTURBATIONS.items()
    },
}  # fmt: skip


def base_of(suite: str) -> str:
    """Return the suite whose policies are evaluated on a suite."""
    return SUITES[suite].base or suite
