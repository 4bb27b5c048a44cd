"""Scale images to the size of a data set, as --resize and --resize-mode ask for."""

import numpy as np
from PIL import Image, ImageOps

from pipeline.sources.catalog import ResizeMode
from pipeline.sources.image_decoding import Grey
from pipeline.sources.picture_style import border_of

# Triangles that widen with the reduction, so that no pixel is left out and thin lines stay. Unlike the bicubic and
# Lanczos filters it gives no value outside of those that it averages, and unlike a box it enlarges smoothly.
FILTER = Image.Resampling.BILINEAR


def resize_image(image: Grey, height: int, width: int, mode: ResizeMode) -> Grey:
    """Return uint8[height, width]; an image of that size is returned unchanged.

    fit scales to the size, and does not keep the aspect ratio. pad scales to fit inside, and fills the rest with the
    background, the median of the image's border. crop scales to cover the size, and keeps the middle.
    """
    if image.shape == (height, width):
        return image
    stored = Image.fromarray(image)
    if mode == "fit":
        return np.asarray(stored.resize((width, height), FILTER))
    if mode == "crop":
        return np.asarray(ImageOps.fit(stored, (width, height), FILTER))
    return np.asarray(_pad(stored, height, width, int(np.median(border_of(image[None])))))


def _pad(image: Image.Image, height: int, width: int, background: int) -> Image.Image:
    """Unlike `ImageOps.pad`, keep at least one pixel of an image that is much longer than wide."""
    factor = min(height / image.height, width / image.width)
    size = (max(1, round(factor * image.width)), max(1, round(factor * image.height)))
    canvas = Image.new("L", (width, height), background)
    canvas.paste(image.resize(size, FILTER), ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas
