"""Imports without garbage collection."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from glow_pipeline.startup import without_gc


@pytest.fixture(autouse=True)
def restored_collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


class Cycle:
    """An object that only the garbage collector frees."""

    def __init__(self) -> None:
        self.itself = self


def test_collection_is_disabled_inside_the_block() -> None:
    with without_gc():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_only_objects_alive_at_exit_are_never_collected() -> None:
    with without_gc():
        early = Cycle()
    late = Cycle()
    early_lives, late_lives = weakref.ref(early), weakref.ref(late)
    del early, late
    gc.collect()
    assert early_lives() is not None
    assert late_lives() is None


def test_errors_and_nested_blocks_restore_the_state() -> None:
    with pytest.raises(ImportError), without_gc():
        raise ImportError
    assert gc.isenabled()
    with without_gc():
        with without_gc():
            pass
        assert not gc.isenabled()


def test_block_is_also_a_decorator() -> None:
    assert [without_gc()(gc.isenabled)() for _ in range(2)] == [False, False]
    assert gc.isenabled()


def test_exit_of_python_frees_all_objects() -> None:
    program = """
from glow_pipeline.startup import without_gc
class Cycle:
    def __init__(self): self.itself = self
    def __del__(self): print("gone")
with without_gc():
    cycle = Cycle()
"""
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "gone\n"
    )
