"""Heartbeats of running trials: a trial that has been silent for too long was interrupted, and is queued again.

`Study.optimize` has heartbeats too, but ends the search if a trial was meanwhile given to another process (a laptop's,
asleep), stops them at the first failure of the database, and never queues a trial again whose process died before its
first one.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heartbeats:
    """When a trial counts as interrupted, and how often it is tried again.

    Attributes:
        interval: seconds between two heartbeats of a running trial.
        grace: seconds of silence after which it was interrupted.
        poll: seconds between two looks at the trials of other processes.
        max_retries: of one trial: it may itself be what kills the process.
    """

    interval: int = 10
    grace: int = 30
    poll: float = 1.0
    max_retries: int = 10

    def retry(self) -> RetryHeartbeatStaleTrialCallback:
        """Return a callback that queues a trial again, with its values and the epochs that it has reported."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RetryHeartbeatStaleTrialCallback(max_retry=self.max_retries, inherit_intermediate_values=True)


DEFAULT = Heartbeats()


def running(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that run, in this process or another one, or ran when their process died."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def queue_silent_trials(study: optuna.Study) -> None:
    """Queue the trials again that have been silent for longer than the study's storage allows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)


def record_heartbeat(study: optuna.Study, trial_id: int) -> None:
    """Record that this trial runs now."""
    study._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined] # Optuna has no public name for it


@contextmanager
def beating(study: optuna.Study, trial: optuna.Trial, heartbeats: Heartbeats) -> Iterator[None]:
    """Record heartbeats of this trial within the block, from a thread."""
    ended = threading.Event()

    def beat() -> None:
        while True:
            try:
                record_heartbeat(study, trial._trial_id)
            except StorageInternalError as error:  # the database may be back at the next beat
                logger.debug("trial %d: no heartbeat: %s", trial.number, error)
            if ended.wait(heartbeats.interval):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
