"""The predictions of a trained network, with the three ways of testing of section 3.2."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from src.base.errors import InputError
from src.base.tensors import check
from src.compute import processes
from src.compute.runtime import Runtime
from src.images import views
from src.images.dataset import Dataset
from src.images.format import ImageFormat
from src.images.views import EvaluateParams
from src.networks.memory import inference_batch
from src.networks.outputs import average
from src.networks.vgg import VGG

View = Callable[[Tensor, ImageFormat, int], Iterator[Tensor]]


@torch.inference_mode()
def predict(
    network: VGG, dataset: Dataset, runtime: Runtime, params: EvaluateParams, batch: int | None = None
) -> Tensor:
    """The logits of all images, float32 [N, classes], on the CPU. Each process does its share of the batches.

    Args:
        batch: images at a time. The default keeps the memory bounded (`inference_batch`).

    Raises:
        InputError: a test scale is smaller than the crop, a logit is not finite, or the network is for another number
            of classes.
    """
    scales = views.evaluation_scales(params.scales, dataset.format)
    network = runtime.place(network).eval()
    side = max(scales) if "dense" in params.test else dataset.format.crop
    batches = torch.split(dataset.images.to(runtime.device), batch or inference_batch(side))
    share = range(len(batches))[processes.rank() :: processes.size()]
    logits = []
    for index in tqdm(share, unit="batch", leave=False, disable=None):
        with runtime.autocast():
            logits.append(averaged_logits(network, batches[index], dataset.format, params, scales))
    own = dict(zip(share, (part.cpu() for part in logits), strict=True))
    parts = {index: part for process in processes.gather(own) for index, part in process.items()}
    result = torch.cat([parts[index] for index in range(len(batches))])
    check("the network's outputs", result, "float32", (len(dataset), len(dataset.format.classes)))
    if bad := int((~result.isfinite().all(dim=1)).sum()):
        raise InputError(
            f"the network's outputs for {bad:,} of {len(result):,} images are not finite on {runtime}; "
            "try runtime.precision=fp32"
        )
    return result


def averaged_logits(
    network: VGG, images: Tensor, image_format: ImageFormat, params: EvaluateParams, scales: list[int]
) -> Tensor:
    """The logits of uint8 images [B, 3, 32, 32], float32 [B, classes], averaged as section 3.2 says.

    - centre: the network on the central square
    - dense: the network at all positions of the whole image, 32 pixels apart (`class_map`)
    - crops: the network on a grid of 5 x 5 squares
    - dense_and_crops: both (section 4.4)

    The class probabilities of squares, scales, mirrored images and both ways are averaged.
    """
    ways: dict[str, tuple[View, Callable[[Tensor], Tensor]]] = {
        "centre": (views.centre, network),
        "dense": (views.whole, lambda image: class_map(network, image).mean(dim=(2, 3))),
        "crops": (views.squares, network),
    }

    sides = (False, True) if params.flip else (False,)

    def tested(way: str, scale: int, mirrored: bool) -> Tensor:
        see, forward = ways[way]
        seen = see(images, image_format, scale)
        return average([forward(view.flip(-1) if mirrored else view).float() for view in seen])

    return average(
        [
            average([tested(way, scale, mirrored) for scale in scales for mirrored in sides])
            for way in params.test.split("_and_")
        ]
    )


def class_map(network: VGG, images: Tensor) -> Tensor:
    """Class scores by position (section 3.2): float32 [B, 3, H, W], at least the network's size, to [B, classes, h, w].

    The paper turns the fully connected layers into convolutions, and fc6 gets a kernel of 7 x 7 at 224 pixels. Here the
    fully connected layers compute each 7 x 7 window of the last feature map, which is the same. H and W are multiples
    of 32.
    """
    layers = dict(network.named_children())
    names = list(layers)
    convolutional, classifier = names[: names.index("flatten")], names[names.index("flatten") + 1 :]
    outputs = images
    for name in convolutional:
        outputs = layers[name](outputs)
    side = network.image_size // 32
    windows = outputs.unfold(2, side, 1).unfold(3, side, 1)  # [B, channels, h, w, side, side]
    outputs = windows.permute(0, 2, 3, 1, 4, 5).flatten(3)
    for name in classifier:
        outputs = layers[name](outputs)
    return outputs.permute(0, 3, 1, 2)
