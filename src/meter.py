"""Loss and accuracy over images, counted without waiting for the device."""

from typing import Any

import torch
from torch import Tensor


class Meter:
    """Loss and hits over images. Everything stays on the device until it is asked for, so that no step waits."""

    def __init__(self, device: torch.device) -> None:
        self.losses: list[Tensor] = []  # mean over each batch
        self.sizes: list[int] = []  # images in each batch
        self.hits = torch.zeros((), dtype=torch.int64, device=device)

    @property
    def images(self) -> int:
        return sum(self.sizes)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: its mean loss, logits [B, classes] and labels [B]."""
        self.losses.append(loss)
        self.sizes.append(len(labels))
        self.hits += (logits.argmax(dim=1) == labels).sum()

    def state_dict(self) -> dict[str, Any]:
        losses = torch.stack(self.losses) if self.losses else torch.empty(0)
        return {"losses": losses, "sizes": list(self.sizes), "hits": self.hits}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses = list(state["losses"].to(self.hits.device))
        self.sizes = state["sizes"]
        self.hits = state["hits"].to(self.hits.device)

    def result(self) -> tuple[float, float]:
        """Mean loss and accuracy over all images: sums divided by what was seen, the last batch being smaller."""
        losses = torch.stack(self.losses).double().cpu()
        sizes = torch.tensor(self.sizes, dtype=torch.float64)
        return float(losses @ sizes) / self.images, int(self.hits) / self.images
