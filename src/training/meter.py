"""Mean loss and accuracy over many batches, without waiting for the device."""

from typing import Any

import torch
from torch import Tensor

from src.networks.outputs import places


class Meter:
    """Sums loss and hits over batches. The sums stay on the device until they are read, so no step waits."""

    def __init__(self, device: torch.device) -> None:
        self.losses: list[Tensor] = []  # mean over each batch
        self.sizes: list[int] = []  # images in each batch
        self.hits = torch.zeros((), dtype=torch.int64, device=device)

    @property
    def images(self) -> int:
        return sum(self.sizes)

    def add(self, loss: Tensor, hits: Tensor, size: int) -> None:
        """Add a batch of `size` images: its mean loss, and how many images were classified correctly."""
        self.losses.append(loss)
        self.sizes.append(size)
        self.hits += hits

    def state_dict(self) -> dict[str, Any]:
        losses = torch.stack(self.losses) if self.losses else torch.empty(0)
        return {"losses": losses, "sizes": list(self.sizes), "hits": self.hits}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses = list(state["losses"].to(self.hits.device))
        self.sizes = state["sizes"]
        self.hits = state["hits"].to(self.hits.device)

    def sums(self) -> Tensor:
        """Summed loss, hits and images, float64 [3]."""
        sizes = self.hits.new_tensor(self.sizes, dtype=torch.float64)
        losses = torch.stack(self.losses).double() if self.losses else sizes
        return torch.stack([losses @ sizes, self.hits.double(), sizes.sum()])

    def result(self) -> tuple[float, float]:
        """Mean loss and accuracy over all images. Each batch counts by its size: the last one may be smaller."""
        return means(self.sums())


def means(sums: Tensor) -> tuple[float, float]:
    """Mean loss and accuracy from `Meter.sums`."""
    loss, hits, images = sums.tolist()
    return loss / images, hits / images


def count_hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images are classified correctly, as an int64 scalar on the device, for logits [B, classes].

    Labels are int64 [B]. B may be 0. `src/networks/outputs.py` has the rule for ties.
    """
    return (places(logits, labels) == 0).sum()
