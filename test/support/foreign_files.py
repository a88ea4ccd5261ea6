# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Every reader of files that strangers may have written, with a small good example of each."""

from __future__ import annotations

import json
import resource
import shutil
import socket
import struct
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
import yaml
from rosbags.rosbag2 import Reader as Rosbag
from rosbags.rosbag2 import Writer
from safetensors.torch import save_file

from support.bag_samples import BagSpec, write_bag
from support.checkpoint_cases import TOWERS, write_official
from support.data_samples import image
from support.foreign_results import RESULT_READERS
from support.foreign_states import STATE_READERS, put_pickle_back, take_pickle_out
from support.fuzz import MOST_MEMORY, Reader, fuzz
from support.lerobot_sets import write_v21
from support.lerobot_v06 import write_v06
from support.public_datasets import episode_record, write_calvin, write_libero, write_records
from vla_adapter_ros.cameras.calibration import read_calibration
from vla_adapter_ros.data.bags.metadata import BagMetadata
from vla_adapter_ros.data.bags.recover import recover
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.suites.wire import WireError, receive, send
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.nodes.bringup.parameter_files import read_parameters_file
from vla_adapter_ros.preflight.memory import weight_bytes
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.robot.contract import load_contract, resolve_contract
from vla_adapter_ros.robot.image_decoding import decode_compressed, is_grey_file
from vla_adapter_ros.training.config import find_recipe, load_config
from vla_adapter_ros.weights.directory import checkpoint_fingerprint
from vla_adapter_ros.weights.tensors import open_pt, open_safetensors

CHUNK = 0x06  # of a record in an MCAP file
PACKAGE = Path(__file__).resolve().parents[2]
SHIPPED = PACKAGE / 'vla_adapter_ros/checkpoints/tiny_sim'


def read_dataset(folder: Path) -> None:
    """Read first and last episodes of a dataset: vectors and one image of each camera."""
    source = open_source(folder)
    source.fingerprint()
    for number in {0, len(source.episodes) - 1}:
        source.states_actions(number)
        last = source.episodes[number].length - 1
        for camera in source.cameras:
            list(source.images(number, camera, [last]))


def write_bag_folder(folder: Path) -> Sequence[Path]:
    write_bag(folder, BagSpec(duration=1.0, compressed=True))
    return sorted(folder.glob('*.mcap'))


def write_unchecked_bag(folder: Path) -> Sequence[Path]:
    """Without checksums, so that damage reaches what is behind them."""
    files = write_bag_folder(folder)
    for file in files:
        data, place = bytearray(file.read_bytes()), 8
        while place + 9 < len(data):
            opcode, length = struct.unpack_from('<BQ', data, place)
            if opcode == CHUNK:
                data[place + 33 : place + 37] = bytes(4)
            place += 9 + length
        file.write_bytes(data)
    return files


def write_bag_description(folder: Path) -> Sequence[Path]:
    write_bag_folder(folder)
    return [folder / 'metadata.yaml']


def write_sqlite_bag(folder: Path) -> Sequence[Path]:
    other = folder.with_name(f'{folder.name}_mcap')
    write_bag_folder(other)
    with Rosbag(other) as source, Writer(folder, version=8) as target:
        for key, value in BagMetadata(other).custom.items():
            target.set_custom_data(key, value)
        for topic in source.connections:
            kind = topic.msgtype
            target.add_connection(
                topic.topic, kind, msgdef=topic.msgdef.data, rihs01=topic.digest
            )
        into = {connection.topic: connection for connection in target.connections}
        for topic, time, data in source.messages():
            target.write(into[topic.topic], time, data)
    shutil.rmtree(other)
    return sorted(folder.glob('*.db3'))


def read_recovered(folder: Path) -> None:
    output = folder.with_name(f'{folder.name}_recovered')
    shutil.rmtree(output, ignore_errors=True)
    recover(folder, output)


def write_rlds(folder: Path) -> Sequence[Path]:
    file = folder / 'a-train.tfrecord-00000-of-00001'
    folder.mkdir()
    write_records(file, [episode_record(n, 3) for n in range(2)])
    return [file]


def write_example(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    (folder / 'example').write_bytes(episode_record(0, 3))
    return [folder / 'example']


def read_example(folder: Path) -> None:
    """As a record whose checksum fits."""
    inner = folder / 'set'
    inner.mkdir(exist_ok=True)
    write_records(
        inner / 'a-train.tfrecord-00000-of-00001', [(folder / 'example').read_bytes()]
    )
    read_dataset(inner)


def write_hdf5(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    write_libero(folder / 'push_demo.hdf5', (3, 2), 'push the cube')
    return [folder / 'push_demo.hdf5']


def write_calvin_annotations(folder: Path) -> Sequence[Path]:
    write_calvin(folder, ((3, 5), (20, 21)))
    return [folder / 'lang_annotations/auto_lang_ann.npy']


def write_calvin_steps(folder: Path) -> Sequence[Path]:
    write_calvin_annotations(folder)
    return sorted(folder.glob('*.npz'))


def write_old_lerobot(folder: Path) -> Sequence[Path]:
    write_v21(folder)
    return sorted(f for f in folder.rglob('*') if f.is_file())


def write_new_lerobot(folder: Path) -> Sequence[Path]:
    write_v06(folder)
    return sorted(f for f in folder.rglob('*') if f.is_file())


def write_safetensors(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    tensors = {'a': torch.ones(3, 4), 'b.c': torch.arange(5, dtype=torch.int64)}
    save_file(tensors, folder / 'x.safetensors', {'format': 'pt'})
    return [folder / 'x.safetensors']


def read_safetensors(folder: Path) -> None:
    weight_bytes(folder)
    for tensor in open_safetensors(folder / 'x.safetensors').values():
        tensor.read(None)
        tensor.read(torch.bfloat16)


def write_pt(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    torch.save({'module.a': torch.ones(3, 4), 'b': {'c': torch.arange(5)}}, folder / 'x.pt')
    return [folder / 'x.pt']


def write_pickle(folder: Path) -> Sequence[Path]:
    return [take_pickle_out(write_pt(folder)[0])]


def read_pickle(folder: Path) -> None:
    put_pickle_back(folder / 'x.pt')
    read_pt(folder)


def read_pt(folder: Path) -> None:
    weight_bytes(folder)
    open_pt(folder / 'x.pt')


def write_shipped(folder: Path) -> Sequence[Path]:
    shutil.copytree(SHIPPED, folder)
    return [file for file in folder.iterdir() if file.suffix in ('.json', '.safetensors')]


def write_released(folder: Path) -> Sequence[Path]:
    write_official(folder, 'pro')
    (folder / 'tokenizer.json').write_bytes((SHIPPED / 'tokenizer.json').read_bytes())
    return sorted(folder.glob('*.json'))


def read_policy(folder: Path) -> None:
    checkpoint_fingerprint(folder)
    Policy.from_pretrained(folder, device='cpu', dtype='float32', vision_towers=TOWERS)


def write_tokenizer(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    shutil.copy(SHIPPED / 'tokenizer.json', folder)
    return [folder / 'tokenizer.json']


def read_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.from_directory(folder)
    tokenizer.encode('push the red block')
    tokenizer.unknown_words('push the zeppelin')


def write_contract(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    (folder / 'x.json').write_text(json.dumps(resolve_contract('alicia_d_sim').to_dict()))
    return [folder / 'x.json']


def write_yaml_contract(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    text = yaml.safe_dump(resolve_contract('alicia_d_sim').to_dict())
    (folder / 'x.yaml').write_text(text)
    return [folder / 'x.yaml']


def read_contract(folder: Path) -> None:
    load_contract(next(folder.glob('x.*')))


def write_recipe(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    shutil.copy(find_recipe('official_pro'), folder / 'x.yaml')
    return [folder / 'x.yaml']


def read_recipe(folder: Path) -> None:
    load_config(folder / 'x.yaml')


def write_calibration(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    content = {
        'image_width': 640, 'image_height': 480, 'camera_name': 'wrist',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': [500.0, 0, 320, 0, 500, 240, 0, 0, 1]},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.1, -0.2, 0, 0, 0]},
        'rectification_matrix': {'rows': 3, 'cols': 3, 'data': [1, 0, 0, 0, 1, 0, 0, 0, 1]},
        'projection_matrix': {
            'rows': 3, 'cols': 4, 'data': [500.0, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0],
        },
    }  # fmt: skip
    (folder / 'ost.yaml').write_text(yaml.safe_dump(content))
    return [folder / 'ost.yaml']


def read_intrinsics(folder: Path) -> None:
    read_calibration(folder / 'ost.yaml')


def write_parameters(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    shutil.copy(PACKAGE / 'config/alicia.yaml', folder / 'x.yaml')
    return [folder / 'x.yaml']


def read_parameters(folder: Path) -> None:
    read_parameters_file(folder / 'x.yaml').of('/vla_adapter')


def write_images(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    pixels = np.ascontiguousarray(image(0, 1))
    grey = np.ascontiguousarray(pixels[..., :1])
    (folder / 'a.jpg').write_bytes(simplejpeg.encode_jpeg(pixels))
    (folder / 'b.png').write_bytes(cv2.imencode('.png', pixels)[1].tobytes())
    (folder / 'c.jpg').write_bytes(simplejpeg.encode_jpeg(grey, colorspace='GRAY'))
    return sorted(folder.iterdir())


def read_images(folder: Path) -> None:
    for file in folder.iterdir():
        data = file.read_bytes()
        is_grey_file(data)
        decode_compressed('', data)


def write_wire(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(ours, {'step': 3}, {'a': np.zeros((2, 3, 3), np.uint8), 'b': np.zeros(7)})
        (folder / 'message').write_bytes(theirs.recv(1 << 16))
    return [folder / 'message']


def read_wire(folder: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall((folder / 'message').read_bytes())
        theirs.shutdown(socket.SHUT_WR)
        try:
            receive(ours)
        except WireError as error:
            raise VLAAdapterError(str(error)) from error


READERS = (
    Reader('MCAP', write_bag_folder, read_dataset),
    Reader('MCAP without checksums', write_unchecked_bag, read_dataset),
    Reader('MCAP recovery', write_bag_folder, read_recovered, 0.3),
    Reader('SQLite bag', write_sqlite_bag, read_dataset, 0.3),
    Reader('bag description', write_bag_description, read_dataset),
    Reader('TFRecord', write_rlds, read_dataset),
    Reader('tf.train.Example', write_example, read_example),
    Reader('HDF5', write_hdf5, read_dataset),
    Reader('CALVIN annotations', write_calvin_annotations, read_dataset),
    Reader('CALVIN steps', write_calvin_steps, read_dataset),
    Reader('LeRobot 2.1', write_old_lerobot, read_dataset),
    Reader('LeRobot 3.0', write_new_lerobot, read_dataset),
    Reader('safetensors', write_safetensors, read_safetensors),
    Reader('.pt', write_pt, read_pt),
    Reader('pickle in .pt', write_pickle, read_pickle),
    Reader('checkpoint', write_shipped, read_policy, 0.05),
    Reader('official checkpoint', write_released, read_policy, 0.05),
    Reader('tokenizer', write_tokenizer, read_tokenizer),
    Reader('contract', write_contract, read_contract),
    Reader('contract in YAML', write_yaml_contract, read_contract),
    Reader('recipe', write_recipe, read_recipe),
    Reader('calibration', write_calibration, read_intrinsics),
    Reader('parameter file', write_parameters, read_parameters),
    Reader('images', write_images, read_images),
    Reader('message of an evaluation', write_wire, read_wire),
    *STATE_READERS,
    *RESULT_READERS,
)


def fuzz_alone(name: str, folder: Path, count: int, report: Connection) -> None:
    """Send the outcome from a process of its own, which a library's crash or hunger ends alone."""
    reader = next(reader for reader in READERS if reader.name == name)
    fuzz(reader, folder / 'first', 1)
    limit = _address_space() + 2 * MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    report.send(fuzz(reader, folder / 'x', count))


def _address_space() -> int:
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    return pages * resource.getpagesize()
