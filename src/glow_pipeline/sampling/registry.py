"""All sampling modes by name.

A mode of the package has a line here. A user's own file adds one by `MODES.register(MyMode())`; a line in
`settings.py` imports that file before parameters are checked (docs/extending.md).
"""

from glow_pipeline.registry import Registry
from glow_pipeline.sampling.attribute import Attribute
from glow_pipeline.sampling.interpolate import Interpolate
from glow_pipeline.sampling.levels import Levels
from glow_pipeline.sampling.mode import SamplingMode
from glow_pipeline.sampling.nearest import Nearest
from glow_pipeline.sampling.normal import Normal
from glow_pipeline.sampling.reconstruct import Reconstruct
from glow_pipeline.sampling.vtemp import VaryTemperature

MODES: Registry[SamplingMode] = Registry(
    "sampling mode",
    [
        Normal(),
        VaryTemperature(),
        Interpolate(),
        Reconstruct(),
        Levels(),
        Attribute(),
        Nearest(),
    ],
)
