"""Seeds as functions of a key."""

import pytest

from src.compute.seeds import seed_of


@pytest.mark.parametrize("key", [(0,), (0, 1), (1, 0), (0, 0, 1), (2**32 - 1, 5)])
def test_seeds_differ_and_fit(key: tuple[int, ...]) -> None:
    assert 0 <= seed_of(*key) < 2**63
    assert seed_of(*key) == seed_of(*key)
    assert seed_of(*key) != seed_of(*key, 1)
