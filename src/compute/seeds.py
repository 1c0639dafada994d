"""Random numbers as a function of their purpose and place, such as (seed, epoch, step). No state has to be saved."""

import hashlib
from typing import Literal

import torch

Purpose = Literal["weights", "order", "augmentation", "dropout", "inspection"]


def seed_of(purpose: Purpose, *key: int) -> int:
    """A 63-bit seed for one purpose at one place, such as ("augmentation", seed, epoch, step).

    Different purposes and keys, also keys of different length, have unrelated seeds.
    """
    digest = hashlib.sha256(repr((purpose, *map(int, key))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_of(purpose: Purpose, *key: int) -> torch.Generator:
    """A generator on the CPU, so that the numbers do not depend on the device."""
    return torch.Generator().manual_seed(seed_of(purpose, *key))
