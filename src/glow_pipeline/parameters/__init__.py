"""Every parameter as a typed, bounded, documented field.

The values come from conf/ and from `--params`; the names of the seeds' flags are kept. A value that
these classes do not allow ends the run before anything has been read, fetched or written.
"""

from glow_pipeline.parameters.cross_checks import check_num_classes
from glow_pipeline.parameters.groups import (
    IngestParameters,
    ModelParameters,
    OodParameters,
    SampleParameters,
    TrainParameters,
)
from glow_pipeline.parameters.parsing import known_names, nearest, parse_parameters, with_values
from glow_pipeline.parameters.ranges import Range, SearchParameters
from glow_pipeline.parameters.root import Parameters

__all__ = [
    "IngestParameters",
    "ModelParameters",
    "OodParameters",
    "Parameters",
    "Range",
    "SampleParameters",
    "SearchParameters",
    "TrainParameters",
    "check_num_classes",
    "known_names",
    "nearest",
    "parse_parameters",
    "with_values",
]
