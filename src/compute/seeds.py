"""Random numbers as a function of where they are used, such as (seed, epoch, step). No state has to be saved."""

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """A 63-bit seed that mixes all numbers of `key`, such as (seed, epoch, step)."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(*key: int) -> torch.Generator:
    """A generator on the CPU, so that the numbers do not depend on the device."""
    return torch.Generator().manual_seed(seed_of(*key))
