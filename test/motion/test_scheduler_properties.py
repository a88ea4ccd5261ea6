# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Random policies, latencies, losses and interruptions: the motion stays lawful."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.motion_helpers import (
    HOME,
    assert_within_limits,
    changed_robot,
    chunk_to,
    line_from,
    ready,
    robot,
    run_loop,
)

QUIET = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def random_policy(scheduler, rng, spread, jump):
    """Random walks from the commanded state, now and then anywhere in the joint range."""
    contract = scheduler.contract

    def policy(now, n):
        start = scheduler.commanded(now)[0]
        if rng.random() < jump:
            return rng.uniform(contract.lower - 0.2, contract.upper + 0.2, (8, 7))
        return start + np.cumsum(rng.normal(0.0, spread, (8, 7)), axis=0)

    return policy


@QUIET
@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.002, 0.02, 0.1, 0.5]),
    jump=st.sampled_from([0.0, 0.1, 0.5]),
    mean_latency=st.floats(0.0, 1.5),
    loss=st.sampled_from([0.0, 0.2, 0.6]),
    execute_steps=st.integers(1, 8),
    blend_steps=st.sampled_from([0, 2]),
    lead=st.sampled_from([0.0, 0.02, 0.05]),
)
def test_random_chunks_latencies_and_drops_never_break_a_limit(
    seed, spread, jump, mean_latency, loss, execute_steps, blend_steps, lead
):
    rng = np.random.default_rng(seed)
    scheduler = ready(execute_steps=execute_steps, blend_steps=blend_steps, handover_lead=lead)
    record = run_loop(
        scheduler,
        random_policy(scheduler, rng, spread, jump),
        latency=lambda n: mean_latency * rng.uniform(0.2, 1.8),
        seconds=4.0,
        lost=lambda n: rng.random() < loss,
    )
    assert_within_limits(record, robot())
    for now, plan in record.plans:
        assert plan.start == now
        for part in (plan.arm, plan.gripper):
            times, positions, velocities = part.points()
            assert times[0] > 0.0 and (np.diff(times) > 0.0).all()
            assert np.isfinite(positions).all() and np.isfinite(velocities).all()
            assert not velocities[-1].any()
        # Time goes by at most as fast as the policy meant it.
        assert (np.diff(plan.progress) <= np.diff(plan.arm.times) + 1e-9).all()


@QUIET
@given(
    seed=st.integers(0, 10**6),
    events=st.lists(st.sampled_from(['chunk', 'hold', 'change', 'gap', 'stall']), max_size=30),
    standalone=st.booleans(),
)
def test_interruptions_in_any_order_never_break_a_limit(seed, events, standalone):
    rng = np.random.default_rng(seed)
    contract = robot('alicia_d_standalone' if standalone else 'alicia_d')
    scheduler = ready(contract=contract, flush_on_instruction_change=True)
    now, offset, instruction = 0.0, 0.0, 'a'
    positions, velocities, times = [], [], []
    # Samples before which a streamed arm has come to rest by itself.
    rests = []
    for event in events:
        clock = now + offset
        scheduler.update(clock)
        if event == 'chunk':
            observed = scheduler.commanded(clock)[0]
            goals = line_from(observed, rng.normal(0.0, 0.05, 7))
            stamp = clock - rng.uniform(0.0, 0.5)
            scheduler.accept(chunk_to(goals, stamp, instruction), clock, observed)
        elif event == 'hold':
            scheduler.hold(clock)
        elif event == 'change':
            instruction = f'{instruction}a'
            scheduler.set_instruction(instruction, clock)
        elif event == 'gap':
            # This process pauses: a streamed arm stands still meanwhile, a controller goes on.
            offset += 40.0 if standalone else 0.0
            scheduler.update(now + offset)
            rests += [len(times)] if standalone else []
        for _ in range(int(rng.integers(1, 20))):
            clock = now + offset
            scheduler.update(clock)
            position, velocity = scheduler.commanded(clock)
            times.append(now)
            positions.append(position)
            velocities.append(velocity)
            now += 0.01
    if len(times) < 2:
        return
    p, v, dt = np.array(positions), np.array(velocities), np.diff(times)[:, None]
    assert np.isfinite(p).all()
    moving = ~np.isin(np.arange(1, len(p)), rests)
    fastest = contract.max_velocity * dt * 1.001 + 1e-9
    # The last message before a pause may lead one period of the stream ahead.
    fastest[~moving] += contract.max_velocity / contract.front_end.rate
    assert (np.abs(np.diff(p, axis=0)) <= fastest).all()
    change = np.abs(np.diff(v, axis=0))[moving]
    assert (change <= (contract.max_acceleration * dt * 1.001 + 1e-9)[moving]).all()


@QUIET
@given(seed=st.integers(0, 10**6), speed=st.floats(0.02, 0.2))
def test_slow_limits_are_kept_too(seed, speed):
    rng = np.random.default_rng(seed)
    joints = [
        dict(joint, max_velocity=speed * k, max_acceleration=10 * speed / k)
        for k, joint in enumerate(robot().to_dict()['joints'], start=1)
    ]
    contract = changed_robot(joints=joints)
    scheduler = ready(contract=contract)
    record = run_loop(
        scheduler,
        random_policy(scheduler, rng, 0.05, 0.1),
        latency=lambda n: rng.uniform(0.0, 0.5),
        seconds=3.0,
    )
    assert_within_limits(record, contract)


@pytest.mark.slow(reason='300 s of control in small steps')
def test_long_random_run_keeps_limits_and_memory():
    rng = np.random.default_rng(1)
    scheduler = ready(execute_steps=3)
    record = run_loop(
        scheduler,
        random_policy(scheduler, rng, 0.05, 0.02),
        latency=lambda n: rng.uniform(0.05, 0.4),
        seconds=300.0,
    )
    assert_within_limits(record, robot())
    assert scheduler.accepted > 500
    assert len(scheduler._history._plans) <= 256


def test_start_is_home():
    # The helpers' home must be inside the limits, or the properties above test nothing.
    assert (robot().lower <= HOME).all() and (robot().upper >= HOME).all()
