"""From stored pixels to the input of a network: resize, crop, scale, subtract the mean (section 3.1), on the device.

Nothing larger than 32 x 32 is stored. Each batch is enlarged when it is needed.
"""

import torch.nn.functional as F
from torch import Tensor

from src.images.format import ImageFormat


def resize(images: Tensor, size: int) -> Tensor:
    """Enlarge float images [N, 3, H, W] to [N, 3, size, size], bilinearly, as torchvision's `Resize` does.

    Images of this project are never made smaller, so no antialiasing is needed.
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def centre_crop(images: Tensor, size: int) -> Tensor:
    """Cut the central [N, 3, size, size] out of [N, 3, H, W], with the rounding of torchvision's `CenterCrop`."""
    top, left = (round((side - size) / 2) for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def normalise(images: Tensor, image_format: ImageFormat) -> Tensor:
    """Scale float images in 0..255 to 0..pixel_scale and subtract the channel mean."""
    pixel_scale = image_format.pixel_scale
    mean = images.new_tensor(image_format.mean) * pixel_scale
    return images * (pixel_scale / 255) - mean.view(3, 1, 1)


def prepare(images: Tensor, image_format: ImageFormat) -> Tensor:
    """The input of a network for uint8 images [N, 3, 32, 32]: float32 [N, 3, crop, crop], without augmentation."""
    enlarged = resize(images.float(), image_format.resize)
    return normalise(centre_crop(enlarged, image_format.crop), image_format)
