"""Write the table of docs/presets.md: what each preset trains, and what that takes.

`python docs/hooks/presets.py PROJECT`, part of `make docs`. A preset is a folder of conf/ with parameters.
"""

import re
import sys
from pathlib import Path

from kedro.config import OmegaConfigLoader

from glow_pipeline.density import BATCH_PIXELS, CPU_BATCH
from glow_pipeline.files import replaced_between
from glow_pipeline.images.sources.registry import FOLDER
from glow_pipeline.memory import in_words, training_bytes
from glow_pipeline.parameters import Parameters, parse_parameters, with_values
from glow_pipeline.settings import CONFIG_LOADER_ARGS
from glow_pipeline.training.new_flow import untrained_flow

PAGE = Path("docs", "presets.md")
START = "<!-- The table is written by `make docs`. -->\n"
END = "<!-- End of the table. -->\n"
COLUMNS = (
    *("preset", "images", "K, L, `hidden_channels`", "coupling", "batch", "epochs", "parameters"),
    *("memory on a CPU", "on a GPU", "bits/dim, AUROC"),
)


def presets(project: Path) -> list[str]:
    """Return the names of all presets."""
    files = (project / "conf").glob("*/parameters.yml")
    return sorted(file.parent.name for file in files if file.parent.name not in ("base", "local"))


def parameters_of(project: Path, preset: str) -> Parameters:
    """Return a preset's parameters without those of conf/local; a folder of images gets the preset's name."""
    raw = OmegaConfigLoader(str(project / "conf"), preset, **CONFIG_LOADER_ARGS)["parameters"]  # type: ignore[arg-type]
    named = {"name": preset} if raw["dataset"] == FOLDER.name else {}
    return parse_parameters({**raw, "ingest": {**raw["ingest"], **named}})


def comment_of(project: Path, preset: str) -> str:
    """Return the comment at the top of a preset's file as one line."""
    lines = (project / "conf" / preset / "parameters.yml").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if not line.startswith("# "))
    return " ".join(line.removeprefix("# ") for line in lines[:start])


def figure_of(comment: str) -> str:
    """Return the sentence about the published or measured figure, which ends with its source; else a dash."""
    found = re.search(r"\b((?:Published|Measured).*?\))\.(?: |$)", comment)
    return "-" if found is None else found[1]


def n_parameters(parameters: Parameters) -> int:
    """Return the number of the flow's parameters: each step of a level has as many, so two small flows tell."""
    one, two = (
        sum(parameter.numel() for parameter in untrained_flow(few, few.image_format, few.num_classes).parameters())
        for few in (with_values(parameters, {"model.K": K}) for K in (1, 2))
    )
    return one + (parameters.model.K - 1) * (two - one)


def memory(parameters: Parameters, *, gpu: bool) -> str:
    """Return the estimate that a training prints before its first step.

    On a GPU validation takes what is free, at most a quarter of it, and is left out.
    """
    train, image_format = parameters.train, parameters.image_format
    return in_words(
        training_bytes(
            parameters.model.size(image_format.shape),
            batch=train.batch_size,
            at_once=-(-train.batch_size // train.accumulate),
            scored=1 if gpu else min(CPU_BATCH, BATCH_PIXELS // (image_format.height * image_format.width)),
            activations=train.activations,
            network_bytes=2 if gpu else 4,
            products=gpu,
        )
    )


def row(project: Path, preset: str) -> list[str]:
    """Return a preset's cells."""
    parameters = parameters_of(project, preset)
    model, train, image_format = parameters.model, parameters.train, parameters.image_format
    channels, height, width = image_format.shape
    selection = "" if parameters.dataset == preset else f"{parameters.dataset}, "
    return [
        f"[`{preset}`](../conf/{preset}/parameters.yml)",
        f"{selection}{channels}x{height}x{width}, {image_format.n_bits} bits, {image_format.fit}",
        f"{model.K}, {model.L}, {model.hidden_channels}",
        model.flow_coupling,
        str(train.batch_size),
        f"{train.n_epochs:,}",
        f"{n_parameters(parameters):,}",
        memory(parameters, gpu=False),
        memory(parameters, gpu=True),
        figure_of(comment_of(project, preset)),
    ]


def table(project: Path) -> str:
    """Return a Markdown table of all presets."""
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *(row(project, preset) for preset in presets(project))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def with_table(text: str, project: Path) -> str:
    """Return the text of the page with an up-to-date table between its two marks."""
    return replaced_between(text, START, END, table(project))


if __name__ == "__main__":
    root = Path(sys.argv[1])
    page = root / PAGE
    page.write_text(with_table(page.read_text(encoding="utf-8"), root), encoding="utf-8")
