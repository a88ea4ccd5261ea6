# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""LIBERO HDF5, RLDS and CALVIN: vectors as the official transform, upright images, bad files."""

from __future__ import annotations

import pickle
import re
from contextlib import nullcontext

import h5py
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from support.data_samples import frame_of, image
from support.public_datasets import (
    episode_record,
    example,
    jpegs,
    vectors,
    write_calvin,
    write_libero,
    write_records,
)
from vla_adapter_ros.data.public.pickled import read_pickled
from vla_adapter_ros.data.public.tfrecord import parse_example
from vla_adapter_ros.data.sources import dataset_names, open_source
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.data.training.mixture import Mixture
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig

SMALL = ImageConfig(size=32, jpeg_round_trip=False)


def test_libero_images_are_turned_upright(tmp_path):
    write_libero(tmp_path / 'pick_up_the_bowl_demo.hdf5')
    source = open_source(tmp_path)
    for camera, shift in (('third_person', 0), ('wrist', 1)):
        images = list(source.images(1, camera, [3, 0]))
        np.testing.assert_array_equal(images[0], image(1 + shift, 3))
        np.testing.assert_array_equal(images[1], image(1 + shift, 0))


def test_libero_gripper_is_one_when_open(tmp_path):
    write_libero(tmp_path / 'a_demo.hdf5')
    found = open_source(tmp_path).states_actions(0)
    state, actions = vectors(6, 8, 0)
    assert actions[:2, 6].tolist() == [-1, 1]
    assert found.actions[:2, 6].tolist() == [1, 0]
    np.testing.assert_array_equal(found.actions[:, :6], actions[:, :6])
    np.testing.assert_array_equal(found.state, state)


@pytest.mark.parametrize(
    ('name', 'info', 'text'),
    [
        ('put_the_bowl_on_the_plate_demo', None, 'put the bowl on the plate'),
        ('KITCHEN_SCENE3_turn_on_the_stove_demo', None, 'turn on the stove'),
        ('LIVING_ROOM_SCENE1_pick_up_the_can_demo', None, 'pick up the can'),
        ('anything_demo', 'open the drawer', 'open the drawer'),
    ],
)
def test_libero_instruction(tmp_path, name, info, text):
    write_libero(tmp_path / f'{name}.hdf5', problem_info=info)
    assert {episode.instruction for episode in open_source(tmp_path).episodes} == {text}


def test_libero_demonstrations_are_in_numeric_order(tmp_path):
    write_libero(tmp_path / 'a_demo.hdf5', lengths=range(2, 14))
    source = open_source(tmp_path / 'a_demo.hdf5')
    assert [episode.length for episode in source.episodes] == list(range(2, 14))


def test_damaged_hdf5_is_reported(tmp_path):
    (tmp_path / 'a_demo.hdf5').write_bytes(b'no HDF5')
    with pytest.raises(DatasetError, match=r'a_demo.hdf5: cannot be read: OSError'):
        open_source(tmp_path)


def test_hdf5_that_claims_to_be_huge_is_refused_before_memory_is_reserved(tmp_path):
    write_libero(tmp_path / 'a_demo.hdf5')
    with h5py.File(tmp_path / 'a_demo.hdf5', 'a') as file:
        del file['data/demo_0/obs/ee_states']
        # Never written: a few hundred bytes in the file.
        file['data/demo_0/obs'].create_dataset('ee_states', (10**9, 6), 'f8', chunks=(1000, 6))
    with pytest.raises(DatasetError, match=r'ee_states has 48000000000 bytes, at most 67108864'):
        open_source(tmp_path).states_actions(0)


def write_rlds(path, lengths=(5, 9, 4), calvin=False):
    path.mkdir()
    records = [episode_record(n, length, calvin) for n, length in enumerate(lengths)]
    write_records(path / 'liber_o10-train.tfrecord-00000-of-00002', records[:2])
    write_records(path / 'liber_o10-train.tfrecord-00001-of-00002', records[2:])
    return open_source(path)


def test_rlds_episodes_equal_what_was_written(tmp_path):
    source = write_rlds(tmp_path / 'libero_10_no_noops')
    assert [(e.length, e.instruction) for e in source.episodes] == [
        (5, 'task 0'), (9, 'task 1'), (4, 'task 2'),
    ]  # fmt: skip
    state, actions = vectors(9, 8, 1)
    np.testing.assert_array_equal(source.states_actions(1).state, state)
    np.testing.assert_array_equal(source.states_actions(1).actions[:, :6], actions[:, :6])
    np.testing.assert_array_equal(source.states_actions(1).actions[:, 6], (actions[:, 6] < 0))
    shown = list(source.images(2, 'wrist', [3, 1]))
    assert [frame_of(pixels) for pixels in shown] == [3, 1]
    expected = simplejpeg.decode_jpeg(jpegs(3, 4)[3], fastdct=True, fastupsample=False)
    np.testing.assert_array_equal(shown[0], expected)


def test_calvin_rlds_gripper_is_not_inverted(tmp_path):
    source = write_rlds(tmp_path / 'calvin_abc_rlds', calvin=True)
    state, actions = vectors(5, 15, 0)
    np.testing.assert_array_equal(source.states_actions(0).actions[:, 6], actions[:, 6] > 0)
    kept = [0, 1, 2, 3, 4, 5, 6, 14]
    np.testing.assert_array_equal(source.states_actions(0).state, state[:, kept])


def test_rlds_trains_through_the_cache(tmp_path):
    write_rlds(tmp_path / 'set')
    dataset = open_dataset(tmp_path / 'set', images=SMALL, complete_chunks=True)
    assert (len(dataset), dataset.action_space) == (2, 'command')
    batch = dataset.batch([1])
    assert frame_of(batch.images[0, 0]) == 1
    np.testing.assert_array_equal(batch.actions[0, :, :6], vectors(9, 8, 1)[1][1:9, :6])
    assert dataset.statistics().proprio.size == 8


def test_statistics_of_commands_are_over_all_transitions_as_officially(tmp_path):
    """Each once, also the last seven of an episode, with which no chunk begins."""
    write_rlds(tmp_path / 'set')
    dataset = open_dataset(tmp_path / 'set', images=SMALL, complete_chunks=True)
    source = open_source(tmp_path / 'set')
    episodes = [source.states_actions(i) for i in range(len(source.episodes))]
    actions = np.concatenate([episode.actions for episode in episodes])
    state = np.concatenate([episode.state for episode in episodes])
    statistics = dataset.statistics()
    assert statistics.num_transitions == len(actions) > len(dataset)
    for found, values in ((statistics.action, actions), (statistics.proprio, state)):
        for name, part in (('q01', 0.01), ('q99', 0.99)):
            wanted = np.quantile(values.astype(np.float64), part, axis=0)
            np.testing.assert_allclose(getattr(found, name), wanted, atol=1e-6)


def test_a_truncated_shard_costs_its_last_record(tmp_path, capsys):
    whole = write_rlds(tmp_path / 'set')
    shard = tmp_path / 'set/liber_o10-train.tfrecord-00000-of-00002'
    shard.write_bytes(shard.read_bytes()[:-9])
    source = open_source(tmp_path / 'set')
    assert [e.instruction for e in source.episodes] == ['task 0', 'task 2']
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r'set: .*00000-of-00002: truncated at byte \d+, record 1', line)
    assert source.fingerprint() != whole.fingerprint()


@pytest.mark.parametrize(
    ('place', 'left', 'sentence'),
    [
        (200, ['task 1', 'task 2'], 'damaged record at byte 12: wrong checksum: left out'),
        (2, ['task 2'], 'damaged length at byte 0: the rest is left out'),
        (9, ['task 2'], 'damaged length at byte 0: the rest is left out'),
    ],
    ids=['data', 'length', 'checksum of the length'],
)
def test_a_flipped_bit_costs_its_record(tmp_path, capsys, place, left, sentence):
    write_rlds(tmp_path / 'set')
    shard = tmp_path / 'set/liber_o10-train.tfrecord-00000-of-00002'
    data = bytearray(shard.read_bytes())
    data[place] ^= 4
    shard.write_bytes(data)
    source = open_source(tmp_path / 'set')
    assert [e.instruction for e in source.episodes] == left
    assert sentence in capsys.readouterr().err
    assert [frame_of(pixels) for pixels in source.images(len(left) - 1, 'wrist', [3])] == [3]


def test_suites_of_one_version_are_named_by_their_suite(tmp_path):
    paths = [tmp_path / suite / '1.0.0' for suite in ('libero_object', 'libero_goal')]
    assert dataset_names(paths) == ['libero_object', 'libero_goal']
    assert dataset_names([tmp_path / 'a/pick', tmp_path / 'b/pick']) == ['a/pick', 'b/pick']
    assert dataset_names([tmp_path / 'task_D_D/training']) == ['task_D_D']
    for path in paths:
        path.parent.mkdir()
        write_rlds(path, lengths=(9, 12, 10))
    names = dataset_names(paths)
    sets = [
        open_dataset(path, images=SMALL, cache=False, name=name)
        for path, name in zip(paths, names, strict=True)
    ]
    assert list(Mixture(sets).statistics()) == names


class Entry:
    """A file in a listing of millions; looking at it takes time there."""

    looked = 0

    def __init__(self, name):
        self.name = name

    def stat(self, **_):
        Entry.looked += 1
        raise AssertionError('stat of one of millions of files')

    is_file = is_dir = stat


class Stranger:
    """An object that writes a file when it is read from a pickle."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, 'w')


def test_code_in_the_annotations_of_calvin_is_not_run(tmp_path):
    write_calvin(tmp_path / 'set')
    annotations = tmp_path / 'set/lang_annotations/auto_lang_ann.npy'
    found = np.load(annotations, allow_pickle=True).item()
    np.save(annotations, found | {'more': Stranger(tmp_path / 'written')})
    with pytest.raises(DatasetError, match=r'auto_lang_ann.npy: .* it asks for _?io.open, which'):
        open_source(tmp_path / 'set')
    assert not (tmp_path / 'written').exists()


@pytest.mark.parametrize('module', ['numpy.core', 'numpy._core'])
def test_annotations_of_every_numpy_are_read(tmp_path, module):
    write_calvin(tmp_path / 'set')
    with (tmp_path / 'set/lang_annotations/auto_lang_ann.npy').open('wb') as file:
        np.lib.format.write_array_header_1_0(
            file, {'descr': '|O', 'fortran_order': False, 'shape': ()}
        )
        spans = [tuple(span) for span in np.array([[3, 8], [20, 23]])]
        texts = {'ann': [np.str_('a'), 'b'], 'emb': np.zeros((2, 1, 4), np.float32)}
        # Protocol 0 writes names as plain text.
        content = pickle.dumps({'language': texts, 'info': {'indx': spans}}, protocol=0)
        file.write(re.sub(rb'numpy\._?core', module.encode(), content))
    assert [episode.length for episode in open_source(tmp_path / 'set').episodes] == [6, 4]


def test_a_damaged_dtype_in_the_annotations_of_calvin_cannot_end_the_process(tmp_path):
    write_calvin(tmp_path / 'set')
    file = tmp_path / 'set/lang_annotations/auto_lang_ann.npy'
    flags = b'J\xff\xff\xff\xffK'  # of a dtype, behind its alignment
    assert file.read_bytes().count(flags + b'?') == 1
    # Objects that are not counted as such: numpy's own unpickling crashes.
    file.write_bytes(file.read_bytes().replace(flags + b'?', flags + b'\x86'))
    assert len(open_source(tmp_path / 'set').episodes) == 2


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_arrays_in_a_pickle_are_read_as_numpy_reads_them(tmp_path, protocol):
    content = {
        'spans': np.array([(1, 2), (3, 4)]), 'text': np.array(['a', 'bé']),
        'column': np.asfortranarray(np.arange(6, dtype='>f4').reshape(2, 3)),
        'objects': np.array(['a', None], object), 'flags': np.array([True]),
    }  # fmt: skip
    scalars = [np.int64(4), np.float32(0.5), np.str_('hé')]
    file = tmp_path / 'x.npy'
    with file.open('wb') as stream:
        np.lib.format.write_array_header_1_0(
            stream, {'descr': '|O', 'fortran_order': False, 'shape': ()}
        )
        pickle.dump(np.array({**content, 'scalars': scalars}, object), stream, protocol)
    found = read_pickled(file)
    assert found.pop('scalars') == scalars
    for name, array in content.items():
        np.testing.assert_array_equal(list(found[name]), array)


def test_a_step_of_calvin_that_unpacks_to_gigabytes_is_refused(tmp_path):
    write_calvin(tmp_path / 'set')
    step = tmp_path / 'set/episode_0000003.npz'
    np.savez_compressed(step, robot_obs=np.zeros(20_000_000), rel_actions=np.zeros(7))
    assert step.stat().st_size < 1_000_000
    with pytest.raises(DatasetError, match=r'robot_obs has 160000128 bytes, at most 67108864'):
        open_source(tmp_path / 'set').states_actions(0)


def test_calvin_counts_its_files_and_looks_at_none(tmp_path, monkeypatch):
    write_calvin(tmp_path / 'training')
    source = open_source(tmp_path / 'training')

    def listing(count):
        return lambda path: nullcontext(Entry(f'episode_{n:07d}.npz') for n in range(count))

    found = []
    for count in (20_000, 20_000, 20_001):
        monkeypatch.setattr('os.scandir', listing(count))
        found.append(source.fingerprint())
    assert (found[0] == found[1], found[0] == found[2], Entry.looked) == (True, False, 0)


def test_other_rlds_sets_are_refused(tmp_path):
    write_records(tmp_path / 'x-train.tfrecord-00000-of-00001', [example(a=[1.0])])
    with pytest.raises(DatasetError, match='expected the images'):
        open_source(tmp_path)
    write_records(tmp_path / 'x-train.tfrecord-00000-of-00001', [b'no protocol buffer'])
    with pytest.raises(DatasetError, match=r'record at byte 12: not a tf.train.Example'):
        open_source(tmp_path)


features = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.one_of(
        st.lists(st.binary(max_size=300), min_size=1, max_size=4),
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(features)
def test_examples_are_parsed_as_protobuf_wrote_them(wanted):
    found = parse_example(memoryview(example(**wanted)), wanted)
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        assert [bytes(v) if isinstance(v, memoryview) else v for v in found[name]] == values


def test_calvin_episodes(tmp_path):
    write_calvin(tmp_path / 'training')
    source = open_source(tmp_path / 'training')
    assert [(e.length, e.instruction) for e in source.episodes] == [(6, 'task 0'), (4, 'task 1')]
    state, actions = vectors(4, 15, 1)
    kept = [0, 1, 2, 3, 4, 5, 6, 14]
    np.testing.assert_array_equal(source.states_actions(1).state, state[:, kept])
    np.testing.assert_array_equal(source.states_actions(1).actions[:, 6], actions[:, 6] > 0)
    (shown,) = source.images(1, 'wrist', [2])
    assert shown.shape == (84, 84, 3)
    assert frame_of(shown) == 2
    (tmp_path / 'training/episode_0000005.npz').unlink()
    with pytest.raises(DatasetError, match='episode_0000005'):
        source.states_actions(0)
