"""The work that commands of an array share, and what none of them may make alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from kedro.io import DataCatalog

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.shared_work import SHARED, check_shared_work, last_shared
from glow_pipeline.parameters import WorkersParameters
from glow_pipeline.pipeline_registry import register_pipelines
from tests.hooks.helpers import refused, statuses
from tests.project import copy_project, run, session

PIPELINES = register_pipelines()
ARRAY = WorkersParameters(engine="array", of=2)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataCatalog]:
    with session(copy_project(tmp_path_factory.mktemp("project"))) as created:
        yield cast(DataCatalog, created.load_context().catalog)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_RANK", "1")


def test_workers_are_checked_where_they_are_used() -> None:
    unshared = {name for name, pipeline in PIPELINES.items() if not SHARED & pipeline.all_outputs()}
    assert unshared == {"sample", "register"}


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(
    ("names", "made"),
    [
        ("train", "glow_model"),
        ("__default__", "glow_model"),
        ("search", "search_results"),
        ("calibrate", "glow_detector"),
        ("calibrate+ood", "glow_detector"),
        ("sample+ood", "samples"),
        ("ood+score", "most_outlying"),
    ],
)
def test_results_of_each_command_are_refused(catalog: DataCatalog, names: str, made: str) -> None:
    pipeline = sum((PIPELINES[name] for name in names.split("+")[1:]), PIPELINES[names.split("+")[0]])
    with pytest.raises(GlowPipelineError, match=f"^workers.engine=array: each .* would make a {made} of its own"):
        check_shared_work(ARRAY, pipeline, catalog)
    check_shared_work(ARRAY, pipeline.only_nodes_with_tags("ingest"), catalog)
    check_shared_work(WorkersParameters(), pipeline, catalog)


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("ingest", {"train_images", "test_images"}),
        ("ood", {"in_scores"}),
        ("score", {"file_scores"}),
        ("benchmark", {"scored_pairs"}),
    ],
)
def test_scores_or_tables_end_shared_work(catalog: DataCatalog, name: str, last: set[str]) -> None:
    check_shared_work(ARRAY, PIPELINES[name], catalog)
    assert last_shared(ARRAY, PIPELINES[name]) == last
    assert not last_shared(WorkersParameters(), PIPELINES[name])


@pytest.mark.usefixtures("second")
def test_training_of_an_array_is_refused_first(tmp_path: Path) -> None:
    line = refused(copy_project(tmp_path), "train", workers={"engine": "array", "of": 2})
    assert line.endswith(
        "let them share the tables alone, by --tags ingest, and then make it with workers.engine=processes"
    )


def test_command_that_only_helps_has_no_mlflow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = copy_project(tmp_path)
    for index, recorded in ((1, []), (0, ["FINISHED"]), (1, ["FINISHED", "FINISHED"])):
        monkeypatch.setenv("NODE_RANK", str(index))
        run(project, "ingest", workers={"engine": "array", "of": 2})
        assert statuses(project) == recorded
