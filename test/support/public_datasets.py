# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writes small LIBERO, RLDS and CALVIN sets in the layout of the public ones."""

from __future__ import annotations

import json
import struct

import google_crc32c
import h5py
import numpy as np
import simplejpeg
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from support.data_samples import image


def vectors(length: int, state_size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    actions = generator.uniform(-1, 1, (length, 7)).astype(np.float32)
    actions[:, 6] = np.where(np.arange(length) % 2, 1, -1)
    return generator.normal(size=(length, state_size)).astype(np.float32), actions


def write_libero(path, lengths=(6, 4), problem_info: str | None = None) -> None:
    """Frames stand on their head, as LIBERO's simulator gives them."""
    with h5py.File(path, 'w') as file:
        group = file.create_group('data')
        if problem_info is not None:
            group.attrs['problem_info'] = json.dumps({'language_instruction': problem_info})
        for number, length in enumerate(lengths):
            demo = group.create_group(f'demo_{number}')
            state, actions = vectors(length, 8, number)
            demo['actions'] = actions
            demo['obs/ee_states'], demo['obs/gripper_states'] = state[:, :6], state[:, 6:]
            for name, shift in (('agentview_rgb', 0), ('eye_in_hand_rgb', 1)):
                frames = [image(number + shift, f)[::-1, ::-1] for f in range(length)]
                demo[f'obs/{name}'] = np.stack(frames)


def _example_class():
    file = descriptor_pb2.FileDescriptorProto(name='example.proto', syntax='proto3')
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, kind in (
        ('BytesList', kinds.TYPE_BYTES), ('FloatList', kinds.TYPE_FLOAT),
        ('Int64List', kinds.TYPE_INT64),
    ):  # fmt: skip
        message = file.message_type.add(name=name)
        message.field.add(name='value', number=1, label=kinds.LABEL_REPEATED, type=kind)
    feature = file.message_type.add(name='Feature')
    feature.oneof_decl.add(name='kind')
    for number, name in enumerate(('Bytes', 'Float', 'Int64'), start=1):
        feature.field.add(
            name=f'{name.lower()}_list', number=number, label=kinds.LABEL_OPTIONAL,
            type=kinds.TYPE_MESSAGE, type_name=f'{name}List', oneof_index=0,
        )  # fmt: skip
    features = file.message_type.add(name='Features')
    entry = features.nested_type.add(name='FeatureEntry')
    entry.options.map_entry = True
    entry.field.add(name='key', number=1, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
    entry.field.add(
        name='value', number=2, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_MESSAGE,
        type_name='Feature',
    )  # fmt: skip
    features.field.add(
        name='feature', number=1, label=kinds.LABEL_REPEATED, type=kinds.TYPE_MESSAGE,
        type_name='Features.FeatureEntry',
    )  # fmt: skip
    example = file.message_type.add(name='Example')
    example.field.add(
        name='features', number=1, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_MESSAGE,
        type_name='Features',
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('Example'))


EXAMPLE = _example_class()


def example(**features) -> bytes:
    """A serialised tf.train.Example, written by protobuf itself."""
    message = EXAMPLE()
    for name, values in features.items():
        feature = message.features.feature[name]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif np.asarray(values).dtype.kind == 'f':
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return message.SerializeToString()


def masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack('<I', ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_records(path, records) -> None:
    with open(path, 'wb') as file:
        for record in records:
            length = struct.pack('<Q', len(record))
            file.write(length + masked_crc(length) + record + masked_crc(record))


def jpegs(seed: int, length: int) -> list[bytes]:
    return [simplejpeg.encode_jpeg(image(seed, frame), quality=95) for frame in range(length)]


def episode_record(number: int, length: int, calvin: bool = False) -> bytes:
    state, actions = vectors(length, 15 if calvin else 8, number)
    views = ('rgb_static', 'rgb_gripper') if calvin else ('image', 'wrist_image')
    features = {
        f'steps/observation/{views[0]}': jpegs(number, length),
        f'steps/observation/{views[1]}': jpegs(number + 1, length),
        'steps/observation/state': state.ravel(),
        'steps/action': actions.ravel(),
        'steps/is_first': [int(i == 0) for i in range(length)],
        'steps/language_instruction': [f'task {number}'.encode()] * length,
        'episode_metadata/file_path': [b'somewhere'],
    }
    return example(**features)


def write_calvin(path, spans=((3, 8), (20, 23))) -> None:
    (path / 'lang_annotations').mkdir(parents=True)
    annotations = {
        'language': {'ann': [f'task {i}' for i in range(len(spans))], 'task': [], 'emb': []},
        'info': {'indx': list(spans)},
    }
    np.save(path / 'lang_annotations/auto_lang_ann.npy', annotations)
    for number, (first, last) in enumerate(spans):
        state, actions = vectors(last - first + 1, 15, number)
        for frame in range(last - first + 1):
            np.savez(
                path / f'episode_{first + frame:07d}.npz',
                rgb_static=image(number, frame, 200, 200),
                rgb_gripper=image(number, frame, 84, 84),
                robot_obs=state[frame], rel_actions=actions[frame], actions=actions[frame],
            )  # fmt: skip
