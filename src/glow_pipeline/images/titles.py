"""Titles of figures, and names of classes in them: of which images they are."""

from collections.abc import Sequence

from glow_pipeline.images.format import size_and_bits


def model_title(
    name: str, shape: tuple[int, int, int], n_bits: int, subject: str, temperature: float | None = None
) -> str:
    """Return the title of a figure: model, size and bits, subject and temperature.

    For example `Glow on digits (1x8x8, 4 bits): samples, temperature 0.7`.

    Args:
        name: name of the images that the model was trained on.
        shape: their (C, H, W).
        n_bits: their bits a channel.
        subject: the figure in a few words.
        temperature: factor on the latents of all samples, where it shows some.
    """
    ending = "" if temperature is None else f", temperature {temperature:g}"
    return f"Glow on {name} ({size_and_bits(shape, n_bits)}): {subject}{ending}"


def class_title(k: int, class_names: Sequence[str]) -> str:
    """Return what a class is called in a figure: `cats`; where a number is all of its name, `class 3`.

    Empty for the images directly in a folder, which are of no class.
    """
    name = class_names[k] if k < len(class_names) else str(k)
    return f"class {name}" if name.isdecimal() else name
