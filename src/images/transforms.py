"""From stored pixels to the input of a network: resize, crop, scale, subtract the mean (section 3.1), on the device.

Nothing larger than 32 x 32 is stored. Each batch is enlarged when it is needed. Bilinear resizing is linear and treats
rows and columns alike, so two matrix products give a crop of the enlarged image without the rest of the image. On a GPU
the products are fast and deterministic. PyTorch's `interpolate` is not fast and deterministic at the same time.

A step of training must not wait for the GPU. The mean is therefore copied to a device only once.
"""

from functools import lru_cache

import torch
from torch import Tensor

from src.base.errors import InputError
from src.base.tensors import check, without_autocast
from src.images.format import SIDE, ImageFormat, check_images, middle_scale


@lru_cache
def scaled_mean(image_format: ImageFormat, device: torch.device) -> Tensor:
    """The mean of each channel of pixels in 0..pixel_scale, float32 [3, 1, 1] on a device, made at the first call.

    Raises:
        InputError: the format is impossible.
    """
    image_format.check()
    with torch.inference_mode(False):  # autograd refuses tensors that were made in inference mode
        mean = torch.tensor(image_format.mean, dtype=torch.float32, device="cpu") * image_format.pixel_scale
        return mean.view(3, 1, 1).to(device)


def resize_weights(size: int | Tensor, first: int | Tensor, count: int, device: torch.device) -> Tensor:
    """The weights of bilinear enlarging: a row of 32 pixels becomes `count` pixels of a row of `size` pixels.

    torchvision's `Resize` has the same weights. Images of this project are never made smaller, so no antialiasing is
    needed.

    Args:
        size: of the enlarged image, at least 32: one for all images, or int64 [B] on the device.
        first: the place of the first of the new pixels: one for all, or int64 [B] on the device.

    Returns:
        float64 [32, count], or [B, 32, count]: `row @ weights` is the enlarged row.
    """
    if isinstance(size, Tensor):
        size = size.double()[:, None]
    if isinstance(first, Tensor):
        first = first[:, None]
    centres = torch.arange(count, dtype=torch.float64, device=device) + 0.5 + first  # of the new pixels
    places = (centres * SIDE / size - 0.5).clamp(0, SIDE - 1)  # in the image of 32 pixels
    pixels = torch.arange(SIDE, dtype=torch.float64, device=device)
    return (1 - (places[..., None, :] - pixels[:, None]).abs()).clamp(min=0)


def central(size: int, crop: int) -> int:
    """The first row and column of a central crop, with the rounding of torchvision's `CenterCrop`."""
    return round((size - crop) / 2)


def resize_and_crop(images: Tensor, size: int | Tensor, crop: int, top: int | Tensor, left: int | Tensor) -> Tensor:
    """Enlarge images and cut a square out of each: uint8 [B, 3, 32, 32] to float32 [B, 3, crop, crop], in 0..255.

    Args:
        images: B may be 0: in a small batch, a process may have no image.
        size: height and width of the enlarged image, at least 32.
        top, left: first row and column of the crop in the enlarged image. Like `size`, each of them is one number for
            all images, or int64 [B] on the device of the images.

    Raises:
        InputError: the images are something else, or a number is out of range. Tensors are not looked at: a look would
            wait for a GPU.
    """
    check_images(images, empty=True)
    if isinstance(size, int):
        if size < SIDE:
            raise InputError(f"resize: {size}, expected at least {SIDE}: images are only enlarged")
        if not 1 <= crop <= size:
            raise InputError(f"crop: {crop}, expected 1..{size}, the size of the resized image")
        for place in (top, left):
            if isinstance(place, int) and not 0 <= place <= size - crop:
                raise InputError(f"crop at {place}, expected 0..{size - crop}")
        if size == crop == SIDE:
            return images.float()
    rows, columns = (  # [1, 32, crop], or [B, 1, 32, crop]
        resize_weights(size, place, crop, images.device).float().unsqueeze(-3) for place in (top, left)
    )
    with without_autocast(images.device):
        return rows.mT @ images.float() @ columns


def normalise(images: Tensor, image_format: ImageFormat) -> Tensor:
    """Scale images, float32 [B, 3, H, W] in 0..255, to 0..pixel_scale, and subtract the channel mean."""
    check("images", images, "float32", ("B", 3, "H", "W"), empty=True)
    return images * (image_format.pixel_scale / 255) - scaled_mean(image_format, images.device)


def prepare(images: Tensor, image_format: ImageFormat) -> Tensor:
    """The input of a network for images, without augmentation: uint8 [N, 3, 32, 32] to float32 [N, 3, crop, crop].

    Raises:
        InputError: the images or the format are something else. N is at least 1.
    """
    check_images(images)
    image_format.check()
    size, crop = middle_scale(image_format.resize), image_format.crop
    place = central(size, crop)
    return normalise(resize_and_crop(images, size, crop, place, place), image_format)
