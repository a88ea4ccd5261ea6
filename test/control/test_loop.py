# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The control loop on made-up clocks: when it moves, when it holds, and what it says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from support.loop_fakes import Bench, image
from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.front_ends import TrajectoryCommand


@pytest.fixture
def bench():
    return Bench()


def arm_commands(bench):
    return [c for c in bench.out.commands if c.names == bench.contract.joint_names]


def test_nothing_is_sent_before_motion_is_enabled(bench):
    bench.activate()
    bench.run(1.0)
    assert not bench.out.commands and not bench.worker.jobs


def test_a_chunk_becomes_one_arm_and_one_gripper_trajectory_and_a_new_look_is_taken(bench):
    bench.start()
    bench.worker.answer(bench.chunk())
    bench.run(0.04)
    assert [type(c) for c in bench.out.commands] == [TrajectoryCommand] * 2
    assert bench.out.chunks == 1
    assert bench.run(1.0, lambda: len(bench.worker.jobs) == 2)
    observation = bench.worker.jobs[1].observe()
    assert observation.instruction == 'stack'
    assert observation.stamp == pytest.approx(bench.robot_time, abs=0.06)


def test_the_heartbeat_is_of_now_and_during_an_inference_of_its_observation(bench):
    bench.activate()
    bench.run(0.1)
    assert bench.out.heartbeats[-1] == bench.robot_time, 'nothing is computed yet'
    bench.loop.set_enabled(True, bench.now)
    for _ in range(2):
        bench.run(1.0, lambda: bench.worker.busy_since is not None)
        observed = bench.worker.jobs[-1].observe().stamp
        bench.run(0.1)
        assert bench.out.heartbeats[-1] == observed < bench.robot_time - 0.05
        bench.worker.fail('out of memory')
        bench.run(0.02)
        assert bench.out.heartbeats[-1] == bench.robot_time


def test_a_policy_that_stands_still_is_asked_once_a_step_not_at_every_tick(bench):
    bench.start()
    for _ in range(200):
        if bench.worker.busy_since is not None:
            bench.worker.answer(bench.chunk(0.0))
        bench.run(0.02)
    # 4 s, a step of 0.1 s, control at 50 Hz.
    assert 25 <= len(bench.worker.jobs) <= 42


def test_no_inference_without_an_instruction_and_the_reason_says_so(bench):
    bench.activate(instruction='')
    bench.loop.set_enabled(True, bench.now)
    bench.run(0.2)
    assert 'no instruction' in bench.loop.reason and not bench.worker.jobs


def test_words_that_the_policy_does_not_know_are_named_in_the_answer(bench):
    bench.start()
    known = {'put', 'the', 'red', 'block', 'on'}
    bench.worker.policy = SimpleNamespace(
        unknown_words=lambda text: [word for word in text.split() if word not in known],
        read_as=lambda text: {'blocks': 'block'},
    )
    answer = bench.loop.set_instruction('put the red gizmo on the blocks', bench.now)
    assert answer.success
    assert 'unknown to the policy: gizmo, blocks (read as block)' in answer.message
    assert 'unknown' not in bench.loop.set_instruction('put the red block', bench.now).message


# Enabling.


@pytest.mark.parametrize('missing', ['images', 'states'])
def test_enabling_is_refused_while_an_input_is_missing_and_stays_refused(bench, missing):
    setattr(bench, missing, False)
    bench.activate()
    outcome = bench.loop.set_enabled(True, bench.now)
    assert not outcome.success
    assert 'no third_person image yet' in outcome.message or 'no joint state' in outcome.message
    setattr(bench, missing, True)
    bench.run(1.0)
    assert not bench.loop.enabled, 'a refused request must not come true later'


def test_enabling_at_activation_waits_for_the_inputs(bench):
    bench.images = False
    bench.activate(enable=True)
    bench.run(0.5)
    assert not bench.loop.enabled and 'no third_person image' in bench.loop.reason
    bench.images = True
    bench.run(1.0)
    assert bench.loop.enabled and bench.loop.reason == ''


def test_the_gate_is_asked_before_motion_and_seldom_while_waiting():
    asked, answer = [], ['the driver is slow']

    def gate(now):
        asked.append(now)
        return answer[0]

    bench = Bench(gate=gate)
    bench.activate(enable=True)
    bench.run(2.0)
    assert not bench.loop.enabled and bench.loop.reason == 'the driver is slow'
    assert 3 <= len(asked) <= 6
    assert bench.loop.set_enabled(True, bench.now).message == 'not enabled: the driver is slow'
    answer[0] = ''
    assert bench.loop.set_enabled(True, bench.now).success


def test_after_a_trip_clearing_alone_does_not_move(bench):
    bench.move()
    bench.loop.fail('a bug', bench.now)
    refused = bench.loop.set_enabled(True, bench.now)
    assert not refused.success and 'tripped: a bug' in refused.message
    assert 'a bug' in bench.loop.clear_trip(bench.now).message
    bench.run(1.0)
    assert not bench.loop.enabled
    assert bench.loop.set_enabled(True, bench.now).success


# Ways to stop.


@pytest.mark.parametrize('way', ['stop', 'disable', 'deactivate', 'fail'])
def test_every_way_to_stop_drops_inference_then_brakes_to_rest_within_limits(bench, way):
    bench.move(0.05)
    discarded, sent = bench.worker.discarded, len(arm_commands(bench))
    {
        'stop': lambda: bench.loop.stop('stop was called', bench.now),
        'disable': lambda: bench.loop.set_enabled(False, bench.now),
        'deactivate': lambda: bench.loop.deactivate(bench.now),
        'fail': lambda: bench.loop.fail('a bug', bench.now),
    }[way]()
    assert bench.worker.discarded > discarded
    (hold,) = arm_commands(bench)[sent:]
    assert not hold.velocities[-1].any()
    travelled = np.abs(hold.positions[-1] - bench.arm[:-1])
    assert (travelled <= 1.0**2 / (2 * 8.0) + 0.05).all()
    bench.worker.answer(bench.chunk())
    bench.run(1.0)
    assert len(arm_commands(bench)) == sent + 1, 'nothing is sent after the hold'


def test_a_late_inference_ends_in_hold_and_its_answer_is_used_no_more(bench):
    bench.move()
    assert bench.run(1.0, lambda: bench.worker.busy_since is not None)
    discarded = bench.worker.discarded
    bench.run(1.3)
    assert bench.out.said('inference has exceeded watchdog_timeout (1.00 s): holding')
    assert bench.worker.discarded == discarded + 1
    assert bench.loop.enabled and 'watchdog_timeout (1.00 s)' in bench.loop.reason
    assert not bench.loop.scheduler.moving(bench.now)
    bench.worker.busy_since = None
    bench.run(0.1)
    assert bench.out.said('inference recovered')
    assert bench.worker.busy_since is not None


def test_a_failed_inference_holds_and_tries_again(bench):
    bench.move()
    assert bench.run(1.0, lambda: bench.worker.busy_since is not None)
    jobs = len(bench.worker.jobs)
    bench.worker.fail('CUDA error')
    bench.run(0.04)
    assert bench.loop.reason == 'inference failed: CUDA error'
    assert bench.loop.scheduler.holding
    assert bench.run(0.5, lambda: len(bench.worker.jobs) > jobs)


def test_the_traceback_of_a_failed_inference_is_logged(bench):
    bench.start()
    bench.worker.fail('ValueError: seven actions')
    bench.run(0.04)
    assert bench.out.said('Traceback: ValueError: seven actions')


@pytest.mark.parametrize('robot', ['alicia_d', 'alicia_d_standalone'])
def test_deactivating_ends_motion_even_if_the_driver_cannot_be_reached(robot):
    bench = Bench(robot)
    bench.move(0.05)

    def broken(command):
        raise RuntimeError('publisher is gone')

    bench.out.send = broken
    with pytest.raises(RuntimeError):
        bench.loop.deactivate(bench.now)
    assert not bench.loop.active and not bench.loop.enabled and not bench.loop.gate.engaged
    del bench.out.send
    sent = len(bench.out.commands)
    bench.run(1.0)
    assert len(bench.out.commands) == sent


def test_inputs_without_stamps_move_the_arm_and_enabling_sees_what_running_sees(bench):
    bench.arrival = lambda stamp=0.0: Arrival.of(0.0, bench.robot_time, bench.now)
    bench.move()
    assert bench.loop.reason == '' and bench.worker.jobs[-1].stamp > 999.0
    assert bench.loop.set_enabled(False, bench.now).success
    # Images 0.15 s behind the joint states: each is fresh, together they are not one moment.
    bench.images = False
    bench.run(1.0)
    bench.loop.inputs.reset()
    late = Arrival.of(bench.robot_time - 0.15, bench.robot_time, bench.now)
    for camera in bench.contract.cameras:
        bench.loop.receive_image(camera, image(), late)
    bench.feed()
    answer = bench.loop.set_enabled(True, bench.now)
    assert not answer.success and 's between' in answer.message


def test_one_damaged_image_is_left_out_and_two_in_a_row_hold(bench):
    bench.move()
    assert bench.run(1.0, lambda: bench.worker.busy_since is not None)
    jobs = len(bench.worker.jobs)
    bench.worker.fail('wrist damaged JPEG', damaged=True)
    bench.run(0.04)
    assert bench.loop.reason == '' and bench.loop.scheduler.moving(bench.now)
    assert bench.out.said('wrist damaged JPEG; waiting for the next image')
    assert bench.run(0.2, lambda: len(bench.worker.jobs) > jobs)
    bench.worker.fail('wrist damaged JPEG', damaged=True)
    bench.run(0.04)
    assert bench.loop.reason == 'inference failed: wrist damaged JPEG'
    assert bench.loop.scheduler.holding


# Joint states.


def test_without_joint_states_it_brakes_and_goes_on_where_the_arm_is(bench):
    bench.move()
    bench.states = False
    bench.run(0.6)
    assert bench.loop.scheduler.holding and 'joint states' in bench.loop.reason
    assert bench.loop.inputs.skipped
    bench.arm[:-1] += 0.1
    bench.states, bench.follows = True, False
    bench.run(0.1)
    np.testing.assert_allclose(
        bench.loop.scheduler.commanded(bench.now)[0][:-1], bench.arm[:-1], atol=1e-4
    )
    assert bench.loop.enabled and bench.worker.busy_since is not None


def test_an_arm_that_was_moved_meanwhile_trips(bench):
    bench.move()
    bench.states = False
    bench.run(0.6)
    bench.arm = bench.loop.scheduler.commanded(bench.now)[0] + np.array([0, 0, 0.3, 0, 0, 0, 0])
    bench.states, bench.follows = True, False
    bench.run(0.1)
    assert bench.loop.safety.tripped and not bench.loop.enabled
    assert 'Joint3 moved by 0.30 rad while joint states were missing' in bench.loop.last_error


def test_joint_states_that_come_back_as_nan_trip(bench):
    bench.move()
    bench.states = False
    bench.run(0.6)
    bench.arm = np.full_like(bench.arm, np.nan)
    bench.states, bench.follows = True, False
    bench.run(0.1)
    assert bench.loop.safety.tripped and not bench.loop.enabled
    assert 'is nan' in bench.loop.last_error


def test_it_does_not_go_on_before_its_brake_is_over(bench):
    bench.move(0.08)
    bench.states = False
    # States come back as soon as they are missed: the arm still brakes.
    assert bench.run(0.6, lambda: bench.loop.scheduler.holding)
    bench.states = True
    moving = bench.loop.scheduler.moving(bench.now)
    end = bench.loop.scheduler.plan.end
    bench.run(0.04)
    assert moving and bench.loop.scheduler.plan.kind == 'hold', 'still the brake'
    bench.run(end - bench.now + 0.04)
    assert bench.loop.scheduler.plan.kind == 'rest'


# Clocks.


@pytest.mark.parametrize('robot', ['alicia_d', 'alicia_d_standalone'])
@pytest.mark.parametrize('step', [-30.0, -2.0, -0.4, -0.001, 0.1, 0.45, 0.8, 3600.0])
def test_a_step_of_the_robots_clock_moves_no_target_and_interrupts_nothing(robot, step):
    bench, undisturbed = Bench(robot), Bench(robot)
    for each in (bench, undisturbed):
        each.move(0.05)
        each.sent_before = len(each.out.commands)
    # Messages under way when the clock is set have stamps from before.
    bench.delay = step
    bench.robot_time += step
    for each in (bench, undisturbed):
        each.run(0.02)
        each.delay = 0.0
        each.run(0.2)
        assert each.run(1.0, lambda each=each: each.worker.busy_since is not None)
        each.worker.answer(each.chunk())
        each.run(0.4)
    assert bench.loop.enabled and not bench.out.said('clock') and not bench.out.said('stale')
    assert len(bench.worker.jobs) == len(undisturbed.worker.jobs)
    sent, expected = (each.out.commands[each.sent_before :] for each in (bench, undisturbed))
    assert len(sent) == len(expected)
    for command, other in zip(sent, expected, strict=True):
        np.testing.assert_allclose(command.positions, other.positions, atol=1e-5)
    assert bench.loop.chunk_rate(bench.now) == pytest.approx(
        undisturbed.loop.chunk_rate(undisturbed.now)
    )


def test_activating_again_after_a_while_warns_of_nothing():
    bench = Bench('alicia_d_standalone')
    bench.move()
    bench.loop.deactivate(bench.now)
    bench.robot_time += 30.0
    bench.steady += 30.0
    said = len(bench.out.log)
    bench.activate()
    assert bench.loop.set_enabled(True, bench.now).success
    bench.run(0.2)
    assert not [text for _, text in bench.out.log[said:] if 'paused' in text]


def test_a_pause_of_the_process_does_not_move_a_target_of_a_controller(bench):
    bench.move()
    bench.robot_time += 3.0
    bench.steady += 3.0
    bench.run(0.1)
    assert not bench.out.said('paused')


@pytest.mark.parametrize('rate', [0.5, 5.0])
def test_motion_follows_simulated_time_however_fast_it_runs(rate):
    bench = Bench()
    bench.simulated = True
    bench.move(0.05)
    began, at = bench.now, bench.loop.scheduler.commanded(bench.now)[0]
    for _ in range(5):
        bench.robot_time += 0.02 * rate
        bench.steady += 0.02
        bench.feed()
        bench.loop.tick(bench.now, bench.steady)
    assert bench.now - began == pytest.approx(0.1 * rate)
    moved = bench.loop.scheduler.commanded(bench.now)[0][0] - at[0]
    assert moved == pytest.approx(0.05 * rate, abs=0.02)


# The streamed front end.


def test_the_stream_goes_on_through_the_brake_and_then_is_silent():
    bench = Bench('alicia_d_standalone')
    bench.move(0.05)
    bench.loop.stop('stop was called', bench.now)
    sent = len(bench.out.commands)
    bench.run(0.5)
    brake = np.array([c.positions[:6] for c in bench.out.commands[sent:]])
    assert 2 <= len(brake) < 25
    assert np.abs(np.diff(brake, axis=0)).max() <= 1.0 * 0.02 + 1e-6
    assert len(bench.out.commands) == sent + len(brake)
    silent = len(bench.out.commands)
    bench.run(0.5)
    assert len(bench.out.commands) == silent
