"""From stored pixels to the input of a network: resize, crop, scale, subtract the mean (section 3.1), on the device.

Nothing larger than 32 x 32 is stored. Each batch is enlarged when it is needed. Bilinear resizing is linear and treats
rows and columns alike, so two matrix products give a crop of the enlarged image without the rest of the image. On a GPU
the products are fast and deterministic. PyTorch's `interpolate` is not fast and deterministic at the same time.

A step of training must not wait for the GPU. Tensors that depend only on the image format are therefore made once per
device.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from src.base.errors import InputError
from src.base.tensors import check, without_autocast
from src.images.format import SIDE, ImageFormat, check_images


class Constants(NamedTuple):
    """What an image format says, as float32 tensors on a device."""

    windows: Tensor  # of `crop_windows`
    mean: Tensor  # [3, 1, 1], of the channels of pixels in 0..pixel_scale


@lru_cache
def constants(image_format: ImageFormat, device: torch.device) -> Constants:
    """The constants of a format on a device, made at the first call.

    Raises:
        InputError: the format is impossible.
    """
    image_format.check()
    with torch.inference_mode(False):  # autograd refuses tensors that were made in inference mode
        matrix = resize_matrix(image_format.resize).to(device, torch.float32)
        mean = torch.tensor(image_format.mean, dtype=torch.float32, device="cpu") * image_format.pixel_scale
        return Constants(crop_windows(matrix, image_format.crop), mean.view(3, 1, 1).to(device))


def resize_matrix(size: int) -> Tensor:
    """The weights of bilinear enlarging, float64 [size, 32]: a column of 32 pixels becomes `matrix @ column`.

    torchvision's `Resize` has the same weights. Images of this project are never made smaller, so no antialiasing is
    needed.

    Raises:
        InputError: `size` is smaller than 32.
    """
    if size < SIDE:
        raise InputError(f"resize: {size}, expected at least {SIDE}: images are only enlarged")
    centres = torch.arange(size, dtype=torch.float64, device="cpu") + 0.5  # of the new pixels
    places = (centres * SIDE / size - 0.5).clamp(0, SIDE - 1)  # in the image of 32 pixels
    pixels = torch.arange(SIDE, dtype=torch.float64, device="cpu")
    return (1 - (places[:, None] - pixels).abs()).clamp(min=0)


def crop_windows(matrix: Tensor, crop: int) -> Tensor:
    """The rows of a resize matrix for each place of a crop, transposed: [size - crop + 1, 32, crop].

    Raises:
        InputError: the crop does not fit into the enlarged image.
    """
    if not 1 <= crop <= len(matrix):
        raise InputError(f"crop: {crop}, expected 1..{len(matrix)}, the size of the resized image")
    return matrix.unfold(0, crop, 1)


def central(size: int, crop: int) -> int:
    """The first row and column of a central crop, with the rounding of torchvision's `CenterCrop`."""
    return round((size - crop) / 2)


def resize_and_crop(images: Tensor, image_format: ImageFormat, top: Tensor | int, left: Tensor | int) -> Tensor:
    """Enlarge images and cut a square out of each: uint8 [B, 3, 32, 32] to float32 [B, 3, crop, crop], in 0..255.

    Args:
        images: B may be 0: in a small batch, a process may have no image.
        top, left: first row and column of the crop in the enlarged image: one for all, or int64 [B].

    Raises:
        InputError: the images or the format are something else.
    """
    check_images(images, empty=True)
    windows = constants(image_format, images.device).windows
    for place in (top, left):
        if isinstance(place, int) and not 0 <= place < len(windows):
            raise InputError(f"crop at {place}, expected 0..{len(windows) - 1}")
    if image_format.resize == image_format.crop == SIDE:
        return images.float()
    rows, columns = (
        windows[place] if isinstance(place, int) else windows[place[:, None]] for place in (top, left)
    )  # [32, crop], or [B, 1, 32, crop]
    with without_autocast(images.device):
        return rows.mT @ images.float() @ columns


def normalise(images: Tensor, image_format: ImageFormat) -> Tensor:
    """Scale images, float32 [B, 3, H, W] in 0..255, to 0..pixel_scale, and subtract the channel mean."""
    check("images", images, "float32", ("B", 3, "H", "W"), empty=True)
    return images * (image_format.pixel_scale / 255) - constants(image_format, images.device).mean


def prepare(images: Tensor, image_format: ImageFormat) -> Tensor:
    """The input of a network for images, without augmentation: uint8 [N, 3, 32, 32] to float32 [N, 3, crop, crop].

    Raises:
        InputError: the images or the format are something else. N is at least 1.
    """
    check_images(images)
    place = central(image_format.resize, image_format.crop)
    return normalise(resize_and_crop(images, image_format, place, place), image_format)
