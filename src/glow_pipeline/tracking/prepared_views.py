"""Prepared views of an experiment's runs: which columns and charts MLflow's UI shows, in which order.

The UI stores a view that a person shares as a tag of the experiment, and an address with `viewStateShareKey` opens it.
These are views of the same form: of the runs of one pipeline on one dataset.
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from glow_pipeline.tracking.metric_names import (
    AUROC,
    BEST_VALIDATION_BITS,
    SAMPLES_BY_EPOCH,
    TEST_BITS,
    VALIDATION_BITS,
)

TAG_PREFIX = "mlflow.sharedViewState."
COMPRESSED = "deflate;"  # what the UI's own compressed values begin with
MOST_COLUMNS = 10
RUN_NAME, WIDTH_OF_NAMES = "attributes.`Run Name`", 330  # pixels; by itself 190, in which names differ too late

# Metrics in the table, of whichever pipeline has them.
METRICS = {
    "train": (TEST_BITS, BEST_VALIDATION_BITS),
    "ood": (AUROC, "ood/auroc.nll", "ood/fpr_at_95_tpr"),
    "score": ("score/n_scored", "score/n_outliers", "score/folder_p_value"),
    "benchmark": ("benchmark/far_mean_auroc",),
    "search": ("search/best_val_bits_per_dim",),
}
ALL = ("train", "sample", "ood")  # pipelines of `kedro run` alone
OF_TRAINING = ("seed", "ingest.", "model.", "train.")  # parameters that make a difference to a training
DEFAULT_COLUMNS = ("seed", "model.K", "train.lr", "train.n_epochs")  # where nothing differs yet

# Pipeline -> its charts; the UI adds the other metrics and images of a section after these.
LINES = {
    "train": (
        *(VALIDATION_BITS, f"{VALIDATION_BITS}_given_class"),
        *("train/bits_per_dim", "train/lr", "train/grad_norm", "train/images_per_second"),
    ),
}
BARS = {"train": (BEST_VALIDATION_BITS, TEST_BITS), "ood": METRICS["ood"]}
IMAGES = {
    "train": (SAMPLES_BY_EPOCH, "figures/training_curves"),
    "sample": ("samples/samples_normal",),
    "ood": ("figures/ood_histogram", "figures/ood_roc"),
}
# Sections whose charts have a row each: those of several runs lie side by side in one chart.
WIDE = {name: {"columns": 1, "cardHeight": 460} for name in ("samples", "differences", "figures")}
SECTIONS = ("val", "samples", "differences", "train", "test", "ood", "figures")


def view_key(pipeline: str, dataset: str) -> str:
    """Return the key of the view of the runs of a pipeline on a dataset, which an address takes as it is."""
    name = f"{pipeline}-{dataset}"
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def view_of(pipeline: str, dataset: str, params: Sequence[str], first_sampled: int = 0) -> dict[str, Any]:
    """Return the view of the runs of a pipeline on a dataset.

    Args:
        params: the parameters to show as columns: those that differ between the runs.
        first_sampled: the epoch whose samples are shown at first.
    """
    relevant = [name for name in params if pipeline != "train" or name.startswith(OF_TRAINING)] or DEFAULT_COLUMNS
    groups = ALL if pipeline == "all" else tuple(pipeline.split("+"))
    metrics = [name for group in groups for name in METRICS.get(group, ())]
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        *(f"params.`{name}`" for name in relevant[:MOST_COLUMNS]),
    ]
    charts = list(_charts(groups, first_sampled))
    sections = {chart["metricSectionId"] for chart in charts}
    return {
        "searchFilter": f"tags.pipeline = {quoted(pipeline)} and tags.dataset = {quoted(dataset)}",
        "selectedColumns": columns,
        "columnOrder": [RUN_NAME, *columns],
        "columnWidths": {RUN_NAME: WIDTH_OF_NAMES},
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": _section_id(name), "name": name, "display": True, "isReordered": True, "deleted": False}
            | {"isGenerated": False, **WIDE.get(name, {})}
            for name in SECTIONS
            if _section_id(name) in sections
        ],
        "isAccordionReordered": True,
    }


def encoded(view: Mapping[str, Any]) -> str:
    """Return a view as the value of its tag."""
    text = json.dumps(view, separators=(",", ":"), sort_keys=True)
    return COMPRESSED + base64.b64encode(zlib.compress(text.encode(), level=9)).decode()


def decoded(value: str) -> dict[str, Any]:
    """Return the view in the value of a tag."""
    view: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(value.removeprefix(COMPRESSED))))
    return view


def differing(runs: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the parameters whose values differ between runs that have them, in alphabetical order.

    Args:
        runs: the parameters of each run.
    """
    values: dict[str, set[str]] = {}
    for params in runs:
        for name, value in params.items():
            values.setdefault(name, set()).add(value)
    return sorted(name for name, found in values.items() if len(found) > 1)


def first_sampled(params: Mapping[str, str]) -> int:
    """Return the first epoch after which a training with these recorded parameters draws samples; 0: none is known."""
    every, last = params.get("train.sample_and_save_freq", ""), params.get("train.n_epochs", "")
    return min(int(every), int(last)) if every.isdigit() and last.isdigit() else 0


def _charts(groups: Sequence[str], first_sampled: int) -> Iterator[dict[str, Any]]:
    for key in _of(LINES, groups):
        yield _card(key, "LINE") | {
            "metricKey": key,
            "selectedMetricKeys": [key],
            "lineSmoothness": 0,
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "range": {},
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "ignoreOutliers": False,
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
    for key in _of(BARS, groups):
        yield _card(key, "BAR") | {"metricKey": key}
    for key in _of(IMAGES, groups):
        step = first_sampled if key == SAMPLES_BY_EPOCH else 0
        # All parameters of each run would leave no room for its picture.
        yield _card(key, "IMAGE") | {"imageKeys": [key], "step": step, "showRunParams": False}
    yield _card("differences/parameters", "DIFFERENCE") | {
        "compareGroups": ["Parameters"],
        "chartName": "Parameters that differ",
        "showChangeFromBaseline": False,
        "showDifferencesOnly": True,
        "baselineColumnUuid": "",
    }


def _of(charts: Mapping[str, Sequence[str]], groups: Sequence[str]) -> list[str]:
    return [key for group in groups for key in charts.get(group, ())]


def _card(key: str, kind: str) -> dict[str, Any]:
    section, _, name = key.partition("/")
    return {
        "uuid": f"glow-{section}-{name}",
        "type": kind,
        "runsCountToCompare": 10,
        "metricSectionId": _section_id(section),
        "deleted": False,
        "isGenerated": False,
        "displayName": name,
    }


def _section_id(section: str) -> str:
    return f"glow-section-{section}"


def quoted(text: str) -> str:
    """Return a text as a value of MLflow's filters, which have no escapes: quotes of the other kind."""
    return f"'{text}'" if "'" not in text else f'"{text}"'
