"""The batch size for forward passes without gradients. It keeps the memory bounded."""

ACTIVATIONS = 2**30
"""Bytes for the two largest layers: input and output of conv1_2, 64 channels at full size, float32."""
MOST = 500
"""Images. Larger batches are not faster."""


def inference_batch(crop: int) -> int:
    """Images per batch in validation and evaluation, for images of crop x crop pixels: 41 at 224, 500 at 32.

    The number depends on the size alone, not on the memory of the machine: results depend on it by rounding.
    """
    return max(1, min(MOST, ACTIVATIONS // (2 * 64 * crop**2 * 4)))
