# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which checkpoints a benchmark asks: none that were trained for something else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.evaluation.libero.asking import LIBERO
from vla_adapter_ros.evaluation.suites.policies import refuse_unfit


def policy(contract=None, cameras=('third_person', 'wrist'), rotate=0, turns=None, sizes=(7, 8)):
    """What is looked at of a policy; as it is, it fits LIBERO."""
    processing = SimpleNamespace(
        cameras=cameras, rotations=turns or {}, images=SimpleNamespace(rotate=rotate)
    )
    action, proprio = (SimpleNamespace(size=size) for size in sizes)
    return SimpleNamespace(
        contract=contract,
        pipeline=SimpleNamespace(config=processing),
        statistics=SimpleNamespace(action=action, proprio=proprio),
    )


UPRIGHT = {'third_person': 0, 'wrist': 0}


@pytest.mark.parametrize(
    'changes', [{}, {'cameras': ('third_person',)}, {'rotate': 180, 'turns': UPRIGHT}]
)
def test_a_policy_of_upright_images_and_its_sizes_is_asked(changes):
    refuse_unfit(LIBERO, 'x', policy(**changes))


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'contract': SimpleNamespace(name='arm')}, "trained for robot 'arm', not for LIBERO"),
        ({'cameras': ('wrist', 'third_person')}, "cameras .'wrist', 'third_person'., LIBERO has"),
        ({'cameras': ()}, 'cameras'),
        ({'rotate': 180}, 'they would be turned twice'),
        ({'turns': {'wrist': 90}}, r"turns its images \({'wrist': 90}\)"),
        ({'sizes': (14, 8)}, 'actions of 14 numbers, LIBERO has 7'),
        ({'sizes': (7, 7)}, 'a state of 7 numbers, LIBERO has 8'),
    ],
)
def test_a_policy_of_another_robot_or_of_turned_images_is_refused(changes, reason):
    with pytest.raises(CheckpointError, match=reason) as refused:
        refuse_unfit(LIBERO, 'runs/x', policy(**changes))
    assert str(refused.value).startswith('checkpoint runs/x: ')
