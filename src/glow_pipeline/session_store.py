"""The session of a command: its unique name, which is the version of all that it saves, and its interruption."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock
from kedro.framework.session import KedroSession
from kedro.framework.session.store import BaseSessionStore
from kedro.io.core import generate_timestamp

from glow_pipeline.hooks import PerRunHooks

MILLISECOND = 0.001  # what Kedro's timestamps resolve
PATIENCE = 2  # seconds


class UniqueSessionStore(BaseSessionStore):
    """A store of a session like Kedro's, with a timestamp that no other session of the project has.

    Kedro names a session by the millisecond in which it starts. Two commands typed at once may start in the same one,
    and then the second cannot save its version. Here timestamps are taken one after the other, under a lock that is
    held until the next millisecond. Where no lock can be taken (a project that is read-only), it is Kedro's own.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, self._unique_timestamp(value) if key == "session_id" else value)

    def _unique_timestamp(self, kedros: str) -> str:
        lock = FileLock(Path(self._path) / ".lock", PATIENCE, poll_interval=MILLISECOND)
        with suppress(OSError), lock:
            kedros = generate_timestamp()
            time.sleep(2 * MILLISECOND)
        return kedros


class InterruptibleSession(KedroSession):
    """A session like Kedro's that ends an interrupted run at once, in a notebook too.

    Kedro reports an `Exception` that ends a run to hooks, but not SIGTERM or Ctrl-C.
    """

    def run(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            done: dict[str, Any] = super().run(*args, **kwargs)
        finally:
            for hook in self._hook_manager.get_plugins():
                if isinstance(hook, PerRunHooks):
                    hook.abandon()  # does nothing if the run ended in another way
        return done
