"""The documentation says what the code does."""

import re
from pathlib import Path

from glow_pipeline.images.sources.listing import facts
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.parameters import known_names

TESTS = Path(__file__).parent
PARAMETERS = (TESTS.parent / "docs" / "parameters.md").read_text()
TRAINING = (TESTS.parent / "docs" / "training.md").read_text()
FAULTS = (TESTS.parent / "docs" / "faults.md").read_text()
MATHEMATICS = (TESTS.parent / "docs" / "mathematics.md").read_text()
GPU = "".join((TESTS.parent / "docs" / name).read_text() for name in ("gpu.md", "processes.md"))
DATASETS = (TESTS.parent / "docs" / "datasets.md").read_text()
GENERATIVEZOO = (
    "train sample outlier_detection dataset no_wandb out_dataset batch_size n_epochs lr hidden_channels K L "
    "actnorm_scale flow_permutation flow_coupling LU_decomposed learn_top y_condition y_weight num_classes "
    "sample_and_save_freq checkpoint n_bits max_grad_clip max_grad_norm num_workers warmup decay"
)
VVVM23 = (
    "cfg-path nb-samples resume seed no-save no-cuda no-amp nb-workers no-grad-checkpoint temperature sample "
    "sample-mode"
)


def test_every_flag_of_both_seeds_is_mapped() -> None:
    _, zoo, vvvm23 = re.split(r"^## From ", PARAMETERS, flags=re.MULTILINE)
    for text, flags in ((zoo, GENERATIVEZOO), (vvvm23, VVVM23)):
        assert [flag for flag in flags.split() if f"| `--{flag}` |" not in text] == []


def test_mapped_parameters_exist() -> None:
    named = set(re.findall(r"`((?:model|train|sample|ood|benchmark|ingest|search)\.\w+)", PARAMETERS))
    assert named - set(known_names()) == set()


def test_every_source_is_documented_with_its_numbers() -> None:
    larger = ("_64", "_128", "_224")
    rows = [
        " | ".join([f"| `{source.name}`", *facts(source)[1:]])
        for source in SOURCES.values()
        if not source.name.endswith(larger)
    ]
    assert [row for row in rows if row not in DATASETS] == []


def test_tests_named_in_the_documentation_exist() -> None:
    written = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", DATASETS + TRAINING + FAULTS + MATHEMATICS + GPU)
    assert len(named) > 70
    assert [name for name in named if f"def {name}(" not in written] == []


def test_every_documented_fault_has_a_test() -> None:
    rows = [line for line in FAULTS.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"\| `test_\w+`(, `test_\w+`)* \|$", row)] == []
