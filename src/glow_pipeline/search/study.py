"""The study: all trials of a search, in a database that several processes and machines may share.

A trial that runs says so every few seconds. One that has been silent for longer was cut off, and whoever looks next
queues it again with the same values.
"""

import hashlib
import json
import logging
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import TrialState

from glow_pipeline.errors import GlowPipelineError, NotAllowedError
from glow_pipeline.parameters import Parameters
from glow_pipeline.search.space import suggest
from glow_pipeline.search.storage import in_one_line, open_storage
from glow_pipeline.training.resume import identity

logger = logging.getLogger(__name__)

OnEpoch = Callable[[int, float], bool]
"""(epoch, val bits per dimension) -> whether the trial shall stop."""

Objective = Callable[[optuna.Trial, Parameters, OnEpoch], float]
"""(trial, its parameters, what to tell each epoch) -> the best val bits per dimension; inf if the training diverged."""

OnNotAllowed = Callable[[optuna.Trial, str], None]

HEARTBEAT = 10  # seconds
GRACE = 30  # seconds of silence after which a trial was cut off
POLL = 1.0  # seconds
DIVERGED = "diverged"  # a state that Optuna does not know: complete, of infinite value
MAX_RETRIES = 10  # of one trial: it may itself be what kills the process
NOT_ALLOWED_IN_A_ROW = 20  # trials that end a search, or as many as it has
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
DEPENDS_ON, IMAGES, MLFLOW_RUN = "depends_on", "images", "mlflow_run_id"
ERROR = "error"  # attribute of a trial: why it failed, or why its value is infinite


def open_study(parameters: Parameters, project: Path) -> optuna.Study:
    """The search that these parameters ask for: a new one, or the one of that name with all its trials.

    Args:
        project: folder that a SQLite file's path is relative to.

    Raises:
        GlowPipelineError: the database cannot be opened, or the study's trials were of other ranges or parameters.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    depends_on = _depends_on(parameters)
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:8]
    name = parameters.search.study or f"{parameters.image_selection.key}-{digest}"
    with warnings.catch_warnings(), in_one_line(parameters.search.storage, ImportError, OSError):
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = optuna.create_study(
            storage=open_storage(parameters.search.storage, project, HEARTBEAT, GRACE, _retry()),
            study_name=name,
            load_if_exists=True,
            pruner=_pruner(parameters),
        )
        differing = _differing(study, DEPENDS_ON, depends_on)
    if differing:
        raise GlowPipelineError(
            f"search.study={name}: its trials were of another {', '.join(differing)}; choose another name, or null"
        )
    return study


def check_images(study: optuna.Study, parameters: Parameters, images: dict[str, Any]) -> None:
    """All trials of a study are judged by the same images.

    Args:
        images: what they are and how they were made, as JSON has it.

    Raises:
        GlowPipelineError: its earlier trials had others.
    """
    with in_one_line(parameters.search.storage):
        changed = _differing(study, IMAGES, images)
    if changed:
        raise GlowPipelineError(
            f"search.study={study.study_name}: its trials were of other images than there are now "
            f"({', '.join(changed)} changed); bring those back, or set search.study to a new name"
        )


def run_trials(
    study: optuna.Study, parameters: Parameters, objective: Objective, on_not_allowed: OnNotAllowed | None = None
) -> None:
    """Run trials until `search.n_trials` have finished, in this process and in all others together.

    A training that fails with an exception ends the search, and its trial is not repeated; an interrupted one is queued
    again. A training that diverges is a finished trial, of infinite bits per dimension. A trial whose values do not go
    together fails, is not counted, and another one takes its place.

    Args:
        on_not_allowed: takes a trial that failed so before `objective` was called, and the reason.

    Raises:
        GlowPipelineError: too many trials in a row had values that do not go together.
    """
    n_trials, in_a_row = parameters.search.n_trials, 0
    with in_one_line(parameters.search.storage):
        while _count(study, *FINISHED) < n_trials:
            _queue_what_was_cut_off(study)
            if _count(study, *FINISHED, TrialState.RUNNING) < n_trials:
                reason = _run_trial(study, parameters, objective, on_not_allowed)
                in_a_row = in_a_row + 1 if reason else 0
                if in_a_row >= max(n_trials, NOT_ALLOWED_IN_A_ROW):
                    raise GlowPipelineError(
                        f"search.ranges: the values of {in_a_row} trials in a row do not go together (the last ones: "
                        f"{reason}); narrow these ranges"
                    )
            else:
                _wait_for_others(study)


def mlflow_run_of(study: optuna.Study) -> str | None:
    """The MLflow run that all trials hang under: that of the first command of this search that kept one."""
    return study.user_attrs.get(MLFLOW_RUN)


def first_try(study: optuna.Study, trial: optuna.Trial) -> str:
    """A name for a trial and all repetitions of it, which no trial of another study has, wherever that is stored."""
    trials = study.get_trials(deepcopy=False)
    first = trials[trials[trial.number].system_attrs.get("failed_trial", trial.number)]
    return f"{first.number}_{first.datetime_start:%Y-%m-%dT%H.%M.%S.%f}"


def state_of(trial: optuna.trial.FrozenTrial) -> str:
    """Return what became of a trial: Optuna's state in small letters, or diverged."""
    if trial.state == TrialState.COMPLETE and trial.value is not None and math.isinf(trial.value):
        return DIVERGED
    return trial.state.name.lower()


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that trained to their end, diverged or were pruned."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def _run_trial(
    study: optuna.Study, parameters: Parameters, objective: Objective, on_not_allowed: OnNotAllowed | None
) -> str | None:
    """Run one trial; return why its values are not allowed, if that is what became of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage")  # `_beating` does what `optimize` would
        trial = study.ask()
    earlier = study.get_trials(deepcopy=False)[: trial.number]
    # A seed of its own for each trial: two machines never draw the same, and a search that was killed draws what it
    # would have drawn. A repeated trial takes none, its values are given.
    seed = parameters.seed + sum("failed_trial" not in other.system_attrs for other in earlier)
    study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    reported = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    state, value, pruned, reason = TrialState.FAIL, math.inf, False, None

    def on_epoch(epoch: int, val_bits_per_dim: float) -> bool:
        nonlocal pruned
        if epoch not in reported:
            trial.report(val_bits_per_dim, epoch)
            reported.add(epoch)  # processes that were started again may report it twice
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.filterwarnings("ignore", message="All-NaN")  # of epochs that were not finite
            pruned = trial.should_prune()
        return pruned

    try:
        try:
            proposed = suggest(trial, parameters)
        except NotAllowedError as error:
            if on_not_allowed is not None:
                on_not_allowed(trial, str(error))
            raise
        with _beating(study, trial):
            value = objective(trial, proposed, on_epoch)
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
    except (KeyboardInterrupt, SystemExit):
        if pruned:  # the epoch that it was stopped after was its last one anyway
            state = TrialState.PRUNED
        else:
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            _retry()(study, study.trials[trial.number])
        raise
    except UpdateFinishedTrialError:
        logger.warning("trial %d: not heard of for %d s, so another process has queued it again", trial.number, GRACE)
    except Exception as error:
        with suppress(UpdateFinishedTrialError):
            kind = "" if isinstance(error, GlowPipelineError) else f"{type(error).__name__}: "
            trial.set_user_attr(ERROR, kind + str(error).partition("\n")[0])
        if not isinstance(error, NotAllowedError):
            raise
        reason = str(error)
    finally:
        complete = (math.inf if math.isnan(value) else value) if state == TrialState.COMPLETE else None
        told = study.tell(trial, complete, state, skip_if_finished=True)
    _log(study, told)
    return reason


def _log(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    epochs = f"{state_of(trial)} after {trial.last_step or 0} epochs"
    if ERROR in trial.user_attrs:
        epochs += f" ({trial.user_attrs[ERROR]})"
    values = ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(trial.params.items())
    )
    found = "" if trial.value is None else f"{trial.value:.4f} bits/dim, "
    logger.info("trial %d (%d finished): %s%s; %s", trial.number, len(finished(study)), found, epochs, values)


@contextmanager
def _beating(study: optuna.Study, trial: optuna.Trial) -> Iterator[None]:
    """Say every few seconds that this trial's process lives.

    `Study.optimize` does so too, but fails if the trial was meanwhile given to another process (a laptop's, asleep).
    """
    ended = threading.Event()

    def beat() -> None:
        while True:
            try:
                _heartbeat(study, trial._trial_id)
            except StorageInternalError as error:  # the database may be back at the next beat
                logger.debug("trial %d: no heartbeat: %s", trial.number, error)
            if ended.wait(HEARTBEAT):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _heartbeat(study: optuna.Study, trial_id: int) -> None:
    study._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined] # Optuna has no public name for it


def _wait_for_others(study: optuna.Study) -> None:
    """Until a trial has ended that runs in another process, or whose process died a moment ago."""
    running = _running(study)
    logger.info(
        "waiting for trial %s, which another process runs, or ran until a moment ago", ", ".join(map(str, running))
    )
    started, knocked = time.monotonic(), False
    while running == _running(study):
        time.sleep(POLL)
        _queue_what_was_cut_off(study)
        if not knocked and time.monotonic() - started > GRACE:
            # A process that died before its first heartbeat would be waited for without end.
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                _heartbeat(study, trial._trial_id)
            knocked = True


def _running(study: optuna.Study) -> list[int]:
    return [trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]


def _queue_what_was_cut_off(study: optuna.Study) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)


def _retry() -> RetryHeartbeatStaleTrialCallback:
    """What queues a trial again: with its values, and what it told of its epochs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES, inherit_intermediate_values=True)


def _count(study: optuna.Study, *states: TrialState) -> int:
    return len(study.get_trials(deepcopy=False, states=states))


def _differing(study: optuna.Study, kind: str, now: dict[str, Any]) -> list[str]:
    """What is otherwise than the first command of this study found it; the first one's is kept."""
    if kind not in study.user_attrs:
        study.set_user_attr(kind, now)
    first = study.user_attrs[kind]
    return sorted(key for key in {*first, *now} if first.get(key) != now.get(key))


def _depends_on(parameters: Parameters) -> dict[str, Any]:
    """All that a trial's outcome depends on beside the values proposed to it, by dotted names."""
    searched = parameters.search.searched
    lengths = {f"train.{name}": getattr(parameters.train, name) for name in ("n_epochs", "early_stopping")}
    fixed = {**identity(parameters), **lengths, "dataset": parameters.image_selection.key}
    return {
        **{name: value for name, value in fixed.items() if name not in searched},
        **{f"search.ranges.{name}": given.model_dump(exclude_none=True) for name, given in searched.items()},
    }


def _pruner(parameters: Parameters) -> optuna.pruners.BasePruner:
    if parameters.search.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=parameters.search.startup_trials, n_warmup_steps=parameters.search.warmup_epochs + 1
    )
