# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Whether weights fit into main and GPU memory, in the precision that they run in."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.preflight import memory
from vla_adapter_ros.preflight.checks import FAIL, PASS, SKIP
from vla_adapter_ros.preflight.memory import check_gpu_memory, check_memory, weight_bytes
from vla_adapter_ros.weights.directory import checkpoint_fingerprint

MIB = 1 << 20


@pytest.fixture
def checkpoint(tmp_path):
    """64 MiB of 16-bit and 32 MiB of 32-bit numbers, in all kinds of files."""
    half = torch.zeros(16 * MIB, dtype=torch.bfloat16)
    save_file({'w': half}, tmp_path / 'model.safetensors')
    torch.save({'state': {'w': half}}, tmp_path / 'head.pt')
    torch.save({'v': torch.zeros(8 * MIB), 'name': 'x'}, tmp_path / 'pytorch_model.bin')
    return tmp_path


def test_all_kinds_of_files_count_by_the_width_of_their_numbers(checkpoint):
    assert weight_bytes(checkpoint) == {1: 0, 2: 64 * MIB, 4: 32 * MIB}
    # An older format of torch: counted as it is stored.
    (checkpoint / 'old.bin').write_bytes(bytes(5 * MIB))
    assert weight_bytes(checkpoint)[4] == 37 * MIB
    # Exported networks run as they are stored.
    (checkpoint / 'network.onnx').write_bytes(bytes(MIB))
    assert weight_bytes(checkpoint)[1] == MIB


@pytest.mark.parametrize(
    ('device', 'dtype', 'needed'),
    [('cpu', 'float32', 160), ('cpu', 'bfloat16', 96), ('cuda', 'bfloat16', 96)],
)
def test_16_bit_weights_need_twice_their_size_on_a_cpu(
    checkpoint, monkeypatch, device, dtype, needed
):
    for free, verdict in ((needed - 1, FAIL), (needed + 1, PASS)):
        monkeypatch.setattr(memory, 'available_memory', lambda free=free: free * 1.5 * MIB)
        assert check_memory(checkpoint, device, dtype).verdict == verdict


@pytest.mark.parametrize(('dtype', 'needed'), [('float32', 160), ('bfloat16', 80)])
def test_gpu_memory_is_compared_with_the_weights_as_they_run(
    checkpoint, monkeypatch, dtype, needed
):
    for free, verdict in ((needed - 1, FAIL), (needed + 1, PASS)):
        found = (int(free * 1.5 * MIB), 10**12)
        monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device, found=found: found)
        check = check_gpu_memory(checkpoint, 'cuda:0', dtype)
        assert check.verdict == verdict
        assert 'GiB free, about' in check.detail
    assert check_gpu_memory(checkpoint, 'cpu', dtype).verdict == SKIP


def test_memory_is_read_from_the_kernel(tmp_path):
    path = tmp_path / 'meminfo'
    path.write_text('MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:      42 kB\n')
    assert memory.available_memory(path) == 42 * 1024
    assert memory.available_memory() > 1e6


def test_weights_that_were_not_fetched_are_named(tmp_path):
    (tmp_path / 'model.safetensors').write_text('version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(CheckpointError, match=r'model\.safetensors: '):
        check_memory(tmp_path, 'cpu', 'float32')


@pytest.mark.parametrize('name', ['model.safetensors', 'head.pt', 'pytorch_model.bin'])
def test_weights_of_any_file_are_part_of_a_checkpoints_identity(checkpoint, name):
    before = checkpoint_fingerprint(checkpoint)
    content = bytearray((checkpoint / name).read_bytes())
    content[-1] ^= 1
    (checkpoint / name).write_bytes(content)
    assert checkpoint_fingerprint(checkpoint) != before
