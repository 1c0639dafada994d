"""Random numbers as a function of where they are used: (seed, epoch, step) instead of a state to carry along."""

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """A well-mixed 63-bit seed for a tuple of numbers, such as (seed, epoch, step)."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(*key: int) -> torch.Generator:
    """A CPU generator, so that the same numbers are drawn whatever the device."""
    return torch.Generator().manual_seed(seed_of(*key))
