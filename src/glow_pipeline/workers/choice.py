"""Who computes the parts of a work, as the user chose by `workers.*`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Workers:
    """The choice of an engine. No result depends on it.

    Attributes:
        engine: a name in `engines.ENGINES`.
        of: commands that share the work, for the engine `array`; None: as the launcher says.
        part_images: images of a part; None: as the work suggests.
    """

    engine: str = "processes"
    of: int | None = None
    part_images: int | None = None
