"""Checkpoints: the same content is the same file, and any damaged byte is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from autoshrink.errors import InputError
from autoshrink.training import checkpoint

TENSORS = {"weight": torch.arange(12.0).view(3, 4), "steps": torch.tensor(7), "half": torch.ones(3).half()}
FACTS = {f"fact {n}": {"value": n, "name": "ü"} for n in range(12)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "a.safetensors", TENSORS, FACTS)
    return tmp_path / "a.safetensors"


def test_what_is_saved_is_loaded_and_safetensors_reads_it_too(file: Path) -> None:
    tensors, facts = checkpoint.load(file)
    plain = load_file(file)
    assert facts == FACTS
    assert set(tensors) == set(plain) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert torch.equal(plain[name], tensor)


def test_the_same_content_is_the_same_file(file: Path) -> None:
    for attempt in range(5):
        other = file.with_name(f"{attempt}.safetensors")
        checkpoint.save(other, dict(reversed(TENSORS.items())), dict(reversed(FACTS.items())))
        assert other.read_bytes() == file.read_bytes()


def test_every_damaged_byte_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 128):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            if whole[place : place + 1] == b" ":
                continue  # of the header's JSON, where another kind of space says the same
            with pytest.raises(InputError, match=str(file)):
                checkpoint.load(file)


def test_a_file_without_checksum_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "old.safetensors", {"format": checkpoint.FORMAT, "fact": "1"})
    tensors, facts = checkpoint.load(tmp_path / "old.safetensors")
    assert facts == {"fact": 1}
    assert torch.equal(tensors["weight"], TENSORS["weight"])
