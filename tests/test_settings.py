"""Names in the catalog's paths."""

from concurrent.futures import ThreadPoolExecutor

from glow_pipeline.settings import ConfigLoader
from tests.project import ROOT


def test_catalogs_read_in_two_threads_keep_their_own_names() -> None:
    def paths_of(dataset: str) -> set[str]:
        loader = ConfigLoader(str(ROOT / "conf"), "base", {"dataset": dataset}, base_env="base")
        return {loader["catalog"]["checkpoints"]["filepath"] for _ in range(10)}

    with ThreadPoolExecutor(2) as threads:
        digits, textures = threads.map(paths_of, ("digits", "textures"))
    assert digits == {"data/06_models/digits/checkpoints"}
    assert textures == {"data/06_models/textures/checkpoints"}
