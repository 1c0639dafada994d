"""From stored pixels to what a network sees: resize, crop, scale, subtract the mean (section 3.1). All on the device.

Nothing bigger than 32 x 32 is stored; a batch is enlarged when it is needed.
"""

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from src.dataset import ImageFormat
from src.params import Section


class ImageParams(Section):
    """`image` of params.yaml."""

    resize: Annotated[int, Field(ge=32, le=1024)]
    crop: Annotated[int, Field(ge=32, le=1024)]
    pixel_scale: Literal[1, 255]

    @field_validator("crop")
    @classmethod
    def _crop_fits(cls, crop: int, info: ValidationInfo) -> int:
        if crop % 32:
            raise ValueError("expected a multiple of 32, which five poolings can halve")
        if crop > info.data.get("resize", crop):
            raise ValueError(f"expected at most resize, which is {info.data['resize']}")
        return crop


def resize(images: Tensor, size: int) -> Tensor:
    """Enlarge float images [N, 3, H, W] to [N, 3, size, size], bilinearly, as torchvision's `Resize` does.

    Images of this project are never made smaller, so no antialiasing is needed.
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def centre_crop(images: Tensor, size: int) -> Tensor:
    """Cut the central [N, 3, size, size], with the rounding of torchvision's `CenterCrop`."""
    top, left = (round((side - size) / 2) for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def normalise(images: Tensor, image_format: ImageFormat) -> Tensor:
    """Scale float images in 0..255 to 0..pixel_scale and subtract the channel mean."""
    scale = image_format.pixel_scale
    mean = images.new_tensor(image_format.mean) * scale
    return images * (scale / 255) - mean.view(3, 1, 1)


def prepare(images: Tensor, image_format: ImageFormat) -> Tensor:
    """What a network sees of uint8 images [N, 3, 32, 32]: float32 [N, 3, crop, crop], without augmentation."""
    enlarged = resize(images.float(), image_format.resize)
    return normalise(centre_crop(enlarged, image_format.crop), image_format)
