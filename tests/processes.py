"""Separate processes that tests may kill, forked from one that has done nothing but the imports."""

import time
from collections.abc import Callable
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from typing import Any

import pytest

PRELOADED = ["glow_pipeline.images.sources.remote", "tests.training.helpers"]


def fresh_processes() -> ForkServerContext:
    """Return what starts them: not by forking this process, whose torch has threads, which is not safe."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("no_proxy", "*")
        forkserver.ensure_running()
    return context


def ended(target: Callable[..., None], *arguments: Any, timeout: float = 240) -> int | None:
    """Run this in a process; return its exit code, negative if a signal ended it, None if it did not end in time."""
    process = fresh_processes().Process(target=target, args=arguments)
    process.start()
    process.join(timeout)
    code = process.exitcode
    process.kill()
    process.join()
    return code


def comes(condition: Callable[[], object], seconds: float = 120) -> bool:
    """Wait for the condition; return whether it came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
