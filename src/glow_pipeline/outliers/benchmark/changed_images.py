"""A table of changed images: each is computed when it is read, and none is stored."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from glow_pipeline.flow.dequantization import Dequantization
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.rows import Places
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.benchmark.image_changes import CHANGES, ImageChange
from glow_pipeline.randomness import key

AT_ONCE = 1024  # images that are computed at once for their hashes


class ChangedImages(ImageTable):
    """A table of the same images, changed. The same image changes in the same way in any batch and any subset.

    Args:
        originals: the images to change.
        change: is applied to each at 8 bits, before the reduction to n_bits.
        seed: seed of the change's random numbers.
    """

    def __init__(self, originals: ImageTable, change: ImageChange, seed: int) -> None:
        super().__init__(originals.folder, originals.rows, originals.store)
        self._name, self._seed = change.name, seed  # by name, since the function of a change cannot be pickled
        selection = ImageSelection(source=f"{originals.record.name}_{change.name}")
        self.record = originals.record.model_copy(update={"image_selection": selection})

    def __getitem__(self, indices: Places) -> tuple[Tensor, Tensor]:
        images, labels = super().__getitem__(indices)
        depth = Dequantization(self.record.image_format.n_bits)
        rows = self.rows_at(indices)
        changed = [self._changed(image, row) for image, row in zip(depth.expand(images), rows, strict=True)]
        return depth.reduce(torch.stack(changed)) if changed else images, labels

    @property
    def content_hashes(self) -> NDArray[np.int64]:
        """Hashes of the changed images int64 (N,); computes all of them."""
        starts = range(0, len(self), AT_ONCE)
        return np.concatenate(
            [content_hash(self[start : start + AT_ONCE][0]).numpy() for start in starts]
            or [np.empty(0, dtype=np.int64)]
        )

    def _changed(self, image: Tensor, row: int) -> Tensor:
        """Change one 8-bit image (C, H, W)."""
        channels = image.permute(1, 2, 0).numpy()
        picture = Image.fromarray(channels[:, :, 0] if len(image) == 1 else channels)
        random = np.random.default_rng(abs(key(self._seed, f"change {self._name}", int(row))))
        pixels = torch.from_numpy(np.array(CHANGES[self._name].apply(picture, random)))
        return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_name": self._name, "_seed": self._seed}
