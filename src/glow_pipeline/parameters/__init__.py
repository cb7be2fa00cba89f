"""Parameters as typed, bounded and documented fields, one module for each conf/base/parameters_*.yml.

Values come from conf/ and `--params`. An invalid value ends the command before anything is read, fetched or written.
"""

from glow_pipeline.parameters.batch_size import with_complete_batches
from glow_pipeline.parameters.benchmark import BenchmarkParameters
from glow_pipeline.parameters.calibrate import CalibrateParameters
from glow_pipeline.parameters.cross_checks import check_attribute_among, check_num_classes
from glow_pipeline.parameters.ingest import IngestParameters
from glow_pipeline.parameters.model import ModelParameters
from glow_pipeline.parameters.names import as_typed, changeable_on_resume, flattened, known_names, nearest
from glow_pipeline.parameters.ood import OodParameters
from glow_pipeline.parameters.parsing import parse_parameters, with_values
from glow_pipeline.parameters.root import Parameters
from glow_pipeline.parameters.sample import SampleParameters
from glow_pipeline.parameters.score import ScoreParameters
from glow_pipeline.parameters.search import Range, SearchParameters
from glow_pipeline.parameters.train import TrainParameters
from glow_pipeline.parameters.workers import WorkersParameters

__all__ = [
    "BenchmarkParameters",
    "CalibrateParameters",
    "IngestParameters",
    "ModelParameters",
    "OodParameters",
    "Parameters",
    "Range",
    "SampleParameters",
    "ScoreParameters",
    "SearchParameters",
    "TrainParameters",
    "WorkersParameters",
    "as_typed",
    "changeable_on_resume",
    "check_attribute_among",
    "check_num_classes",
    "flattened",
    "known_names",
    "nearest",
    "parse_parameters",
    "with_complete_batches",
    "with_values",
]
