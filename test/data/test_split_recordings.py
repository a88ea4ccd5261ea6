# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One recording becomes several episodes; each part once, whatever was interrupted."""

from __future__ import annotations

import numpy as np
import pytest

from support.bag_samples import BagSpec, commanded_at, joints_at, write_bag
from support.data_samples import frame_of
from vla_adapter_ros.data.bags.contents import BagContents, BagOptions
from vla_adapter_ros.data.bags.conversion import convert_bags
from vla_adapter_ros.data.bags.episode import BagEpisode
from vla_adapter_ros.data.bags.parts import split_recording
from vla_adapter_ros.data.bags.source import BagSource
from vla_adapter_ros.data.convert import main
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import DatasetWriter, final_keys, final_metadata
from vla_adapter_ros.errors import DatasetError

BY_TEXT = BagOptions(split_on_instruction=True)
BY_GAPS = BagOptions(split_on_gaps=0.3)
# Three tasks; between the last two nobody had said which for half a second.
TASKS = BagSpec(
    duration=4.5, instruction='one', later_instructions={1.5: 'two', 1.7: 'two', 2.7: '', 3.2: '3'}
)


def episodes_of(path, options):
    bag = BagContents(path, options=options)
    split = split_recording(bag)
    return [BagEpisode(path, part=part, contents=bag) for part in split.parts], split.left_out


def test_each_instruction_is_an_episode(tmp_path):
    path = write_bag(tmp_path / 'a', TASKS)
    episodes, left_out = episodes_of(path, BY_TEXT)
    assert [(e.instruction, len(e)) for e in episodes] == [('one', 15), ('two', 12), ('3', 13)]
    assert left_out == ['0.50 s at 2.70 s, without an instruction']
    assert [e.name for e in episodes] == [f'a part {n} of 3' for n in (1, 2, 3)]
    # The last task begins with the images after 3.2 s, whose red tells their number.
    shown = [frame_of(pixels) for pixels in episodes[2].images('wrist', range(13))]
    start = (episodes[2].frame_times[0] - episodes[0].frame_times[0]) / 1e9
    assert 3.2 <= start < 3.24
    assert shown == [(round((start + k / 10) * 30)) % 64 for k in range(13)]
    # No pause: commands and measurements are followed across the change of the instruction.
    at = start + 0.002 + np.arange(13) / 10
    for k in range(11):
        np.testing.assert_allclose(
            episodes[2].actions[k, :6], commanded_at(float(at[k]) + 0.1), atol=3e-3
        )


def test_pauses_end_an_episode(tmp_path):
    # The wrist camera pauses; for the others nothing happens.
    path = write_bag(tmp_path / 'a', BagSpec(duration=4.0, wrist_gap=(1.5, 2.0)))
    with pytest.raises(DatasetError, match=r'wrist: 0.53 s without a message'):
        BagEpisode(path)
    episodes, left_out = episodes_of(path, BY_GAPS)
    assert [len(e) for e in episodes] == [15, 20]
    assert left_out == []
    # What was commanded during the pause of a camera is known: also by the first frame behind it.
    np.testing.assert_allclose(episodes[1].actions[0, :6], commanded_at(2.1), atol=3e-3)


def test_what_was_commanded_before_a_pause_of_the_recording_says_nothing_of_afterwards(tmp_path):
    path = write_bag(tmp_path / 'a', BagSpec(duration=5.5, pause=(1.5, 3.9)))
    (_, after), left_out = episodes_of(path, BY_GAPS)
    assert left_out == []
    # The next trajectory begins at 4.2 s: until then where the arm was, not where it was sent to.
    np.testing.assert_allclose(after.state[0], joints_at(3.92), atol=1e-9)
    np.testing.assert_allclose(after.actions[0, :6], joints_at(4.002)[:6], atol=3e-3)
    np.testing.assert_allclose(after.actions[8, :6], commanded_at(4.802), atol=3e-3)


def test_short_parts_are_left_out(tmp_path):
    path = write_bag(tmp_path / 'a', BagSpec(duration=4.0, wrist_gap=(0.5, 0.9)))
    (only,), left_out = episodes_of(path, BY_GAPS)
    assert left_out == ['0.50 s at 0.00 s, shorter than 1 s']
    assert (only.name, len(only)) == ('a', 31)
    short = write_bag(tmp_path / 'b', BagSpec(duration=0.8))
    with pytest.raises(DatasetError, match=r'nothing is left when it is split: 0.80 s at 0.00 s'):
        split_recording(BagContents(short, options=BY_GAPS))


def test_training_reads_the_parts_of_bags(tmp_path):
    source = BagSource(write_bag(tmp_path / 'a', TASKS), options=BY_TEXT)
    assert [(e.key[-6:], e.instruction) for e in source.episodes] == [
        ('1 of 3', 'one'), ('2 of 3', 'two'), ('3 of 3', '3'),
    ]  # fmt: skip


def run(bags, output, *more):
    arguments = [str(bags), str(output), '--quiet', '--workers', '1', '--image-size', '32', *more]
    return main([*arguments, '--storage', 'image'])


def test_conversion_splits_and_an_interrupted_one_makes_the_missing_parts(
    tmp_path, capsys, monkeypatch
):
    write_bag(tmp_path / 'bags/a', TASKS)
    write_bag(tmp_path / 'bags/b', BagSpec(duration=1.2))
    output, original = tmp_path / 'set', DatasetWriter.add_episode

    def interrupted(writer, *arguments, key, **more):
        if key == 'a.part_002':
            raise KeyboardInterrupt
        return original(writer, *arguments, key=key, **more)

    with monkeypatch.context() as patch:
        patch.setattr(DatasetWriter, 'add_episode', interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / 'bags', output, '--split-on-instruction')
    assert run(tmp_path / 'bags', output, '--split-on-instruction') == 0
    out = capsys.readouterr().out
    assert 'a: 3 parts; left out: 0.50 s at 2.70 s, without an instruction' in out
    assert 'b: 1 part\n' in out
    assert '3 converted, 0 already converted' in out
    assert final_keys(output) == ['a.part_001', 'a.part_002', 'a.part_003', 'b']
    texts = [episode.instruction for episode in LeRobotSource(output).episodes]
    assert texts == ['one', 'two', '3', 'pick up the cube']
    # Once more: everything is there; another way of splitting is not mixed with it.
    assert run(tmp_path / 'bags', output, '--split-on-instruction', '--append') == 0
    assert '0 converted, 2 already converted' in capsys.readouterr().out
    assert run(tmp_path / 'bags', output, '--append') == 1
    assert 'split_on_instruction is True there, None here' in capsys.readouterr().out


def test_a_part_that_fails_costs_itself(tmp_path):
    # Within the second part the wrist camera's image has another size.
    spec = BagSpec(duration=4.0, wrist_gap=(1.5, 2.0), wrist_size={3.0: (80, 48)})
    bags = [write_bag(tmp_path / 'a', spec)]
    result = convert_bags(bags, tmp_path / 'set', options=BY_GAPS, storage='image')
    assert list(result.failed) == ['a part 2 of 2']
    assert 'image is 80×48 pixels' in result.failed['a part 2 of 2']
    assert final_keys(tmp_path / 'set') == ['a.part_001']


def test_the_mark_of_success_belongs_to_the_last_part(tmp_path):
    spec = BagSpec(duration=4.0, wrist_gap=(1.5, 2.0), success=True)
    bags = [write_bag(tmp_path / 'a', spec)]
    result = convert_bags(bags, tmp_path / 'set', options=BY_GAPS, storage='image')
    assert result.parts == {'a': 2}
    marks = [data['success'] for data in final_metadata(tmp_path / 'set').values()]
    assert marks == [None, True]


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--split-on-gaps', '0'], 'split_on_gaps: got 0 s, expected over 0'),
        (['--split-on-instruction', '--instruction', 'x'], 'split where it changes, not both'),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, capsys, more, message):
    bags = write_bag(tmp_path / 'a', BagSpec(duration=0.1))
    assert run(bags, tmp_path / 'set', *more) == 1
    assert message in capsys.readouterr().out
    assert not (tmp_path / 'set').exists()
