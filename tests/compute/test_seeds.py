"""Seeds as functions of a purpose and a key."""

from itertools import product
from typing import get_args

from src.compute.seeds import Purpose, generator_of, seed_of


def test_all_seeds_differ_and_fit() -> None:
    """NumPy's SeedSequence pads with zeros: an epoch's order and its first step's augmentation shared a stream."""
    keys = [key for length in range(4) for key in product((0, 1, 2, 2**31, 2**32), repeat=length)]
    seeds = [seed_of(purpose, *key) for purpose in get_args(Purpose) for key in keys]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_the_same_in_every_process() -> None:
    assert seed_of("order", 0, 1) == 5235859805464026190
    assert generator_of("order", 0, 1).initial_seed() == seed_of("order", 0, 1)
