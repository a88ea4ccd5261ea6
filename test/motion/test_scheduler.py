# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest

from support.motion_helpers import (
    HOME,
    PERIOD,
    assert_within_limits,
    changed_robot,
    chunk_to,
    line_from,
    ready,
    robot,
    run_loop,
    slow_step,
)
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.robot.action_space import MotionError

STEP = slow_step()


def test_first_chunk_moves_from_rest_through_every_target():
    scheduler = ready()
    goals = line_from(HOME, STEP)
    plan = scheduler.accept(chunk_to(goals, 0.0), 0.2, HOME)
    assert plan is not None
    # The arm waited for the slow first inference: nothing was consumed, so nothing is dropped.
    assert plan.dropped == 0 and scheduler.dropped['passed'] == 0
    times, positions, velocities = plan.arm.points()
    assert times[0] > 0.0 and (np.diff(times) > 0.0).all()
    assert not velocities[-1].any()
    for goal in goals:
        assert np.abs(positions - goal[:-1]).max(axis=1).min() < 0.02
    assert positions[-1] == pytest.approx(goals[-1][:-1])


def test_steps_consumed_during_inference_are_dropped():
    scheduler = ready(handover_lead=0.0)
    scheduler.accept(chunk_to(line_from(HOME, STEP, 16), 0.0), 0.0, HOME)
    # Observed at 0.4 s, arrives at 0.65 s: 2.5 steps were executed meanwhile.
    observed = scheduler.commanded(0.4)[0]
    plan = scheduler.accept(chunk_to(line_from(observed, STEP), 0.4), 0.65, observed)
    assert plan is not None and plan.dropped == 2
    assert plan.arm.positions[0] == pytest.approx(scheduler.commanded(0.65)[0][:-1])
    # The third target is due at 0.4 + 3 · 0.1, half a step from now.
    assert plan.arm.times[1] == pytest.approx(0.05, abs=1e-6)


def test_stretched_motion_consumes_by_progress_not_by_clock():
    slow = changed_robot(joints=[dict(j, max_velocity=0.1) for j in robot().to_dict()['joints']])
    scheduler = ready(contract=slow, handover_lead=0.0)
    scheduler.accept(chunk_to(line_from(HOME, slow_step(0.03)), 0.0), 0.0, HOME)
    observed = scheduler.commanded(1.0)[0]
    plan = scheduler.accept(chunk_to(line_from(observed, slow_step(0.03)), 1.0), 1.3, observed)
    # 0.3 s are three steps of the policy, but the arm is three times too slow for it.
    assert plan is not None and plan.dropped in (0, 1)


def test_hand_over_is_continuous_in_position_and_velocity():
    scheduler = ready()
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0), 0.1, HOME)
    before = scheduler.commanded(0.45)
    new = chunk_to(line_from(HOME + 0.03, slow_step(-0.015)), 0.3)
    plan = scheduler.accept(new, 0.45, HOME)
    after = scheduler.commanded(0.45)
    assert plan is not None
    assert after[0] == pytest.approx(before[0], abs=1e-12)
    assert after[1] == pytest.approx(before[1], abs=1e-12)


def test_plan_begins_on_the_old_path_so_that_late_arrival_leaves_no_trace():
    scheduler = ready(handover_lead=0.05)
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0), 0.0, HOME)
    old = scheduler.plan
    plan = scheduler.accept(chunk_to(line_from(HOME - 0.1, -STEP), 0.3), 0.42, HOME)
    assert plan is not None
    moments = np.linspace(0.42, 0.4699, 20)
    assert plan.arm.sample_many(moments)[0] == pytest.approx(
        old.arm.sample_many(moments)[0], abs=1e-9
    )
    assert plan.arm.times[1] == pytest.approx(0.05) or plan.arm.times[1] < 0.05


def test_plan_that_is_never_replaced_ends_at_rest():
    scheduler = ready()
    plan = scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0), 0.0, HOME)
    assert plan is not None
    position, velocity = scheduler.commanded(plan.end + 5.0)
    assert not velocity.any()
    assert position == pytest.approx(line_from(HOME, STEP)[-1])
    assert not scheduler.moving(plan.end)


def test_fast_targets_are_stretched_in_time_and_all_reached():
    scheduler = ready()
    goals = line_from(HOME, np.array([0.3, -0.3, 0.2, 0.0, 0.0, 0.3, 0.0]), 4)
    plan = scheduler.accept(chunk_to(goals, 0.0), 0.0, HOME)
    assert plan is not None
    # 0.3 rad a step at 1 rad/s cannot take 0.1 s …
    assert plan.arm.end > 1.2
    # … and no target is cut.
    for goal in goals:
        assert np.abs(plan.arm.positions - goal[:-1]).max(axis=1).min() < 1e-9


def test_gripper_waits_for_an_arm_that_is_slowed():
    scheduler = ready()
    goals = line_from(HOME, np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), 6)
    goals[3:, -1] = 0.0
    plan = scheduler.accept(chunk_to(goals, 0.0), 0.0, HOME)
    assert plan is not None
    reached = plan.arm.times[np.abs(plan.arm.positions[:, 0] - goals[2, 0]).argmin()]
    assert reached > 0.6
    assert plan.gripper.sample(plan.start + reached * 0.9)[0] == pytest.approx(1.0, abs=0.05)
    assert plan.gripper.positions[-1, 0] == pytest.approx(0.0)


def test_slow_gripper_does_not_slow_the_arm():
    contract = changed_robot(gripper__max_velocity=0.5)
    goals = line_from(HOME, STEP)
    goals[2:, -1] = 0.0
    alone = ready().accept(chunk_to(goals, 0.0), 0.0, HOME)
    slowed = ready(contract=contract).accept(chunk_to(goals, 0.0), 0.0, HOME)
    assert alone is not None and slowed is not None
    assert slowed.arm.end == pytest.approx(alone.arm.end)
    assert slowed.gripper.end > 2.0


@pytest.mark.parametrize(
    ('now', 'stamp', 'reason', 'text'),
    [
        (1.0, 0.05, 'late', 'all 8 steps had passed'),
        (4.0, 1.0, 'stale', '3.00 s old > max_chunk_age (2.00 s)'),
        (1.0, 6.0, 'future', '5.00 s in the future'),
        (1.0, float('nan'), 'future', 'in the future'),
    ],
)
def test_chunk_at_the_wrong_time_is_refused_with_the_reason(now, stamp, reason, text):
    scheduler = ready()
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0), 0.0, HOME)
    end = scheduler.plan.end
    if reason == 'late':
        now = min(now, end)
    assert scheduler.accept(chunk_to(line_from(HOME, STEP), stamp), now, HOME) is None
    assert scheduler.dropped[reason] == 8
    assert text in scheduler.last_refusal
    # The motion under way goes on undisturbed.
    assert scheduler.plan.end == end


@pytest.mark.parametrize(
    'goals',
    [np.full((8, 7), np.nan), np.full((8, 7), np.inf), np.zeros((8, 6)), np.zeros((0, 7))],
    ids=['nan', 'inf', 'six columns', 'empty'],
)
def test_malformed_chunk_is_refused_and_changes_nothing(goals):
    scheduler = ready()
    plan = scheduler.plan
    assert scheduler.accept(chunk_to(goals, 0.0), 0.1, HOME) is None
    assert scheduler.plan is plan
    assert scheduler.last_refusal
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0, period=0.0), 0.1, HOME)
    assert 'step period' in scheduler.last_refusal


def test_slow_model_stops_and_goes_but_drops_nothing():
    record = run_loop(
        scheduler := ready(),
        lambda now, n: line_from(scheduler.commanded(now)[0], STEP * (-1) ** n),
        latency=lambda n: 1.4,
        seconds=10.0,
    )
    # 0.8 s of motion and 1.4 s of inference a chunk. Only before its latency is known is one
    # chunk overtaken by the arm.
    assert scheduler.accepted >= 4
    assert scheduler.dropped['passed'] == 0 and scheduler.dropped['late'] <= 8
    assert_within_limits(record, robot())


def test_inference_overlaps_execution_without_a_stop():
    scheduler = ready(execute_steps=4)
    speed = 0.2
    record = run_loop(
        scheduler,
        lambda now, n: line_from(scheduler.commanded(now)[0], slow_step(speed * PERIOD)),
        latency=lambda n: 0.25,
        seconds=5.0,
    )
    times, _, velocities = record.arrays()
    cruising = velocities[(times > 1.5)][:, 0]
    assert cruising.min() > 0.8 * speed


def test_next_inference_is_timed_by_measured_latency_without_the_cold_start():
    scheduler = ready(execute_steps=4, handover_lead=0.0)
    assert scheduler.needs_inference(0.0)
    for n, latency in enumerate([1.9, 0.1, 0.1, 0.1]):
        now = 3.0 * n + latency
        scheduler.accept(chunk_to(line_from(HOME, STEP), 3.0 * n), now, HOME)
    assert scheduler.expected_latency() == pytest.approx(0.1)
    due = scheduler.plan.due
    assert due == pytest.approx(9.1 + 0.4, abs=0.02)
    assert not scheduler.needs_inference(due - 0.11)
    assert scheduler.needs_inference(due - 0.09)


def test_one_stall_does_not_end_the_overlap():
    scheduler = ready(execute_steps=4)
    record = run_loop(
        scheduler,
        lambda now, n: line_from(scheduler.commanded(now)[0], slow_step(0.02)),
        latency=lambda n: 1.8 if n == 3 else 0.1,
        seconds=12.0,
    )
    times, _, velocities = record.arrays()
    assert velocities[times > 5.0][:, 0].min() > 0.1


def test_stalls_do_not_make_every_chunk_be_replaced_at_once():
    scheduler = ready()
    record = run_loop(
        scheduler,
        lambda now, n: line_from(scheduler.commanded(now)[0], slow_step(0.004)),
        latency=lambda n: 0.9 if n % 12 == 5 else 0.05,
        seconds=30.0,
    )
    starts = np.array([now for now, _ in record.plans])
    between = np.diff(starts[starts > 10.0])
    # 8 steps of 0.1 s, less the brake: without stalls a chunk lasts about 0.7 s.
    assert np.median(between) > 0.35


def test_inference_starts_again_while_the_arm_still_brakes():
    scheduler = ready()
    for n in range(4):
        scheduler.accept(chunk_to(line_from(HOME, STEP), 3.0 * n), 3.0 * n + 0.1, HOME)
    scheduler.hold(9.5)
    assert scheduler.needs_inference(9.51)


@pytest.mark.parametrize('steps', [1, 3, 5])
def test_execute_steps_sets_how_long_a_chunk_is_used(steps):
    scheduler = ready(execute_steps=steps)
    record = run_loop(
        scheduler,
        lambda now, n: line_from(scheduler.commanded(now)[0], slow_step(0.01)),
        latency=lambda n: 0.02,
        seconds=6.0,
    )
    starts = np.array([now for now, _ in record.plans[3:]])
    assert np.diff(starts).mean() == pytest.approx(steps * PERIOD, abs=0.03)


def test_complete_chunk_is_replaced_before_it_brakes():
    scheduler = ready(execute_steps=8)
    plan = scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0), 0.0, HOME)
    assert plan is not None
    assert plan.due == pytest.approx(plan.start + plan.arm.times[-2] - 0.05)


def test_blend_mixes_old_and_new_targets_only_when_asked():
    goals = line_from(HOME, STEP, 12)
    other = goals.copy()
    other[:, 0] += 0.04
    plans = []
    for blend in (0, 3):
        scheduler = ready(blend_steps=blend, handover_lead=0.0)
        scheduler.accept(chunk_to(goals, 0.0), 0.0, HOME)
        plans.append(scheduler.accept(chunk_to(other[4:], 0.4), 0.5, HOME))
    plain, blended = (p.arm.positions[:, 0] for p in plans)
    assert len(plain) == len(blended)
    assert np.abs(blended - plain)[1:4].max() > 0.002
    # Past the overlap the new chunk is what counts.
    assert blended[5:] == pytest.approx(plain[5:], abs=1e-9)


def test_blend_of_chunks_that_agree_changes_nothing():
    goals = line_from(HOME, STEP, 12)
    scheduler = ready(blend_steps=3, handover_lead=0.0)
    scheduler.accept(chunk_to(goals, 0.0), 0.0, HOME)
    plan = scheduler.accept(chunk_to(goals[4:], 0.4), 0.5, HOME)
    assert plan is not None
    assert plan.arm.positions[1:, 0] == pytest.approx(goals[5:, 0], abs=1e-4)


def test_hold_brakes_at_the_limit_and_stays():
    scheduler = ready()
    scheduler.accept(chunk_to(line_from(HOME, slow_step(0.05)), 0.0), 0.0, HOME)
    before = scheduler.commanded(0.5)
    plan = scheduler.hold(0.5)
    assert scheduler.commanded(0.5)[0] == pytest.approx(before[0])
    assert scheduler.commanded(0.5)[1] == pytest.approx(before[1])
    speed = np.abs(before[1]).max()
    assert plan.arm.times[-1] == pytest.approx(max(speed / (0.99 * 8.0), 0.05), rel=1e-3)
    assert not scheduler.commanded(plan.end)[1].any()
    assert scheduler.executing(plan.end).kind == 'hold'
    assert scheduler.dropped['held'] == 4


def test_holding_again_and_again_comes_to_rest_all_the_same():
    scheduler = ready()
    scheduler.accept(chunk_to(line_from(HOME, slow_step(0.05)), 0.0), 0.0, HOME)
    end = scheduler.hold(0.5).end
    for n in range(20):
        now = 0.5 + 0.02 * n
        plan = scheduler.hold(now)
        assert plan.arm.points()[0][0] > 0.0
        assert scheduler.moving(now) == (now < end)
        assert plan.end == pytest.approx(max(end, now))
    assert scheduler.dropped['held'] == 4


def test_after_a_hold_the_next_chunk_starts_from_there():
    scheduler = ready()
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0), 0.0, HOME)
    scheduler.hold(0.4)
    rest = scheduler.commanded(2.0)[0]
    plan = scheduler.accept(chunk_to(line_from(rest, STEP), 2.0), 2.1, rest)
    assert plan is not None and plan.dropped == 0
    assert plan.arm.positions[0] == pytest.approx(rest[:-1])


def test_instruction_change_keeps_the_remaining_steps_by_default():
    scheduler = ready()
    scheduler.set_instruction('stack', 0.0)
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0, 'stack'), 0.0, HOME)
    assert scheduler.set_instruction('sort', 0.3) is None
    assert scheduler.executing(0.4).instruction == 'stack'
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.3, 'sort'), 0.5, HOME)
    # Until the hand-over the arm still does the old step, and the status says so.
    assert scheduler.executing(0.52).instruction == 'stack'
    assert scheduler.executing(0.56).instruction == 'sort'


def test_instruction_change_flushes_when_asked():
    scheduler = ready(flush_on_instruction_change=True)
    scheduler.set_instruction('stack', 0.0)
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0, 'stack'), 0.0, HOME)
    plan = scheduler.set_instruction('sort', 0.3)
    assert plan is not None and plan.kind == 'hold'
    assert scheduler.dropped['instruction changed'] == 6
    late = scheduler.accept(chunk_to(line_from(HOME, STEP), 0.25, 'stack'), 0.4, HOME)
    assert late is None and "'stack'" in scheduler.last_refusal
    assert scheduler.accept(chunk_to(line_from(HOME, STEP), 0.35, 'sort'), 0.5, HOME) is not None
    assert scheduler.set_instruction('sort', 0.6) is None


def test_step_under_way_is_named():
    scheduler = ready(handover_lead=0.0)
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0, 'stack'), 0.0, HOME)
    plan = scheduler.plan
    # From rest the join keeps the policy's pace, so step i runs from i to i + 1 periods.
    assert [scheduler.executing(t).step for t in (0.05, 0.15, 0.65)] == [0, 1, 6]
    assert scheduler.executing(plan.end + 1.0).step == 8
    assert scheduler.remaining_steps(0.65) == 2


def test_a_stream_that_paused_goes_on_where_it_stopped():
    scheduler = ready(contract=robot('alicia_d_standalone'))
    scheduler.accept(chunk_to(line_from(HOME, slow_step(0.05)), 0.0), 0.0, HOME)
    scheduler.update(0.4)
    before = scheduler.commanded(0.4)
    assert 'paused for 49.600 s' in str(scheduler.update(50.0))
    assert scheduler.commanded(50.0)[0] == pytest.approx(before[0])


def test_a_pause_of_this_process_leaves_the_controller_its_trajectory():
    # The controller has the complete trajectory; after the gap it is at its end, and so are we.
    scheduler = ready()
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0), 0.0, HOME)
    scheduler.update(0.4)
    assert scheduler.update(50.0) is None
    assert scheduler.commanded(50.0)[0] == pytest.approx(line_from(HOME, STEP)[-1])


def test_simulated_time_that_stands_still_is_no_pause():
    scheduler = ready()
    scheduler.accept(chunk_to(line_from(HOME, STEP), 0.0), 0.0, HOME)
    assert all(scheduler.update(0.2) is None for _ in range(100))


def test_joint_delta_is_relative_to_the_observed_joints():
    scheduler = ready(contract=changed_robot(action_space='joint_delta'))
    observed = HOME + np.array([0.02, 0, 0, 0, 0, 0, 0])
    deltas = np.zeros((8, 7))
    deltas[:, 1] = 0.01 * np.arange(1, 9)
    deltas[:, -1] = 0.3
    plan = scheduler.accept(chunk_to(deltas, 0.0), 0.0, observed)
    assert plan is not None
    expected = observed[:-1] + np.array([0, 0.08, 0, 0, 0, 0])
    assert plan.arm.positions[-1] == pytest.approx(expected)
    assert plan.gripper.positions[-1, 0] == pytest.approx(0.3)


def test_targets_beyond_limits_are_clipped_even_without_a_safety_filter():
    scheduler = ready()
    goals = line_from(HOME, np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -0.5]))
    plan = scheduler.accept(chunk_to(goals, 0.0), 0.0, HOME)
    assert plan is not None
    assert plan.arm.positions[:, 1].max() <= robot().upper[1] + 1e-6
    assert plan.gripper.positions.min() >= -1e-6


def test_a_network_that_needs_seconds_for_an_inference_moves_the_arm():
    scheduler = ready(max_chunk_age=20.0)
    for now in (8.0, 17.0):
        rest = scheduler.commanded(now)[0]
        plan = scheduler.accept(chunk_to(line_from(rest, STEP), now - 8.0), now, rest)
        # The arm rested during the inference: no step has passed.
        assert plan is not None and plan.dropped == 0
        assert scheduler.commanded(now + 2.0)[0] == pytest.approx(line_from(rest, STEP)[-1])


def test_nothing_is_commanded_before_a_measured_start():
    scheduler = ChunkScheduler(robot())
    assert not scheduler.started and scheduler.needs_inference(0.0)
    with pytest.raises(MotionError, match='call reset'):
        scheduler.commanded(0.0)
    with pytest.raises(MotionError, match='7 finite values'):
        scheduler.reset(np.full(7, np.nan), 0.0)
    with pytest.raises(MotionError, match='7 finite values'):
        scheduler.reset(np.zeros(6), 0.0)


@pytest.mark.slow(reason='a thousand plans; random chunks are always tried')
def test_thousand_instruction_changes_keep_the_motion_within_limits():
    scheduler = ready(flush_on_instruction_change=True)
    rng = np.random.default_rng(5)
    for n in range(1000):
        now = 0.05 * n
        scheduler.update(now)
        name = f'task {n // 2}'
        scheduler.set_instruction(name, now)
        observed = scheduler.commanded(now)[0]
        goals = line_from(observed, rng.normal(0.0, 0.03, 7))
        scheduler.accept(chunk_to(goals, now, name), now + 0.01, observed)
    assert scheduler.accepted > 900
    position, velocity = scheduler.commanded(50.0)
    assert np.isfinite(position).all() and (np.abs(velocity) <= robot().max_velocity).all()
