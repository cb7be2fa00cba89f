"""Runs of trials, in this process and beside others that work on the same study."""

import logging
import math
import time
import warnings
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from glow_pipeline.errors import GlowPipelineError, NotAllowedError, TrainingStopped
from glow_pipeline.parameters import Parameters
from glow_pipeline.search.heartbeats import DEFAULT, Heartbeats, beating, queue_silent_trials, record_heartbeat, running
from glow_pipeline.search.space import suggest
from glow_pipeline.search.storage import database_errors_in_one_line
from glow_pipeline.search.study import ERROR, FINISHED, finished, state_of

logger = logging.getLogger(__name__)

OnEpoch = Callable[[int, float], bool]
"""(epoch, val bits per dimension) -> whether the trial shall stop."""

Objective = Callable[[optuna.Trial, Parameters, OnEpoch], float]
"""(trial, its parameters, takes each epoch) -> the best val bits per dimension; inf if the training diverged."""

OnNotAllowed = Callable[[optuna.Trial, str], None]

NOT_ALLOWED_IN_A_ROW = 20  # trials that end a search, or as many as it has
INTERRUPTIONS = (KeyboardInterrupt, SystemExit, TrainingStopped)


def run_trials(
    study: optuna.Study,
    parameters: Parameters,
    objective: Objective,
    on_not_allowed: OnNotAllowed | None = None,
    heartbeats: Heartbeats = DEFAULT,
) -> None:
    """Run trials until `search.n_trials` have finished, in all processes together.

    A training that fails with an exception ends the search, and its trial is not repeated; an interrupted one is queued
    again. A training that diverges is a finished trial, of infinite bits per dimension. A trial whose values are not
    allowed together fails, is not counted, and another one takes its place.

    Args:
        on_not_allowed: takes a trial that failed so before `objective` was called, and the reason.

    Raises:
        GlowPipelineError: too many trials in a row had values that are not allowed together.
    """
    n_trials, in_a_row = parameters.search.n_trials, 0
    with database_errors_in_one_line(parameters.search.storage):
        while len(finished(study)) < n_trials:
            queue_silent_trials(study)
            if len(study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))) >= n_trials:
                _wait_for_others(study, heartbeats)
                continue
            reason = _run_trial(study, parameters, objective, on_not_allowed, heartbeats)
            in_a_row = in_a_row + 1 if reason else 0
            if in_a_row >= max(n_trials, NOT_ALLOWED_IN_A_ROW):
                raise GlowPipelineError(
                    f"search.ranges: the values of {in_a_row} trials in a row do not go together (the last ones: "
                    f"{reason}); narrow these ranges"
                )


class EpochReports:
    """The epochs of one trial, reported to the study, whose pruner decides after each whether the trial stops."""

    def __init__(self, study: optuna.Study, trial: optuna.Trial) -> None:
        self.pruned = False
        self._trial = trial
        # A process that is started again, for an interrupted trial too, reports its first epochs twice.
        self._reported = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def __call__(self, epoch: int, val_bits_per_dim: float) -> bool:
        """Report an epoch; return whether the trial shall stop."""
        if epoch not in self._reported:
            self._trial.report(val_bits_per_dim, epoch)
            self._reported.add(epoch)
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.filterwarnings("ignore", message="All-NaN")  # of epochs that were not finite
            self.pruned = bool(self._trial.should_prune())  # or it is one of NumPy
        return self.pruned


def _run_trial(
    study: optuna.Study,
    parameters: Parameters,
    objective: Objective,
    on_not_allowed: OnNotAllowed | None,
    heartbeats: Heartbeats,
) -> str | None:
    """Run one trial; return why its values are not allowed, if they are not."""
    trial = _next_trial(study, parameters.seed)
    epochs = EpochReports(study, trial)
    state, value, reason = TrialState.FAIL, math.inf, None
    try:
        proposed = _proposed(trial, parameters, on_not_allowed)
        with beating(study, trial, heartbeats):
            value = objective(trial, proposed, epochs)
        state = TrialState.PRUNED if epochs.pruned else TrialState.COMPLETE
    except INTERRUPTIONS:
        if epochs.pruned:  # it was interrupted after its last epoch
            state = TrialState.PRUNED
        else:
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            heartbeats.retry()(study, study.trials[trial.number])
        raise
    except UpdateFinishedTrialError:
        logger.warning(
            "trial %d: silent for %d s, so another process has queued it again", trial.number, heartbeats.grace
        )
    except NotAllowedError as error:
        reason = str(error)
        _note_error(trial, reason)
    except GlowPipelineError as error:
        _note_error(trial, str(error))
        raise
    except Exception as error:
        _note_error(trial, f"{type(error).__name__}: {error}")
        raise
    finally:
        complete = (math.inf if math.isnan(value) else value) if state == TrialState.COMPLETE else None
        ended = study.tell(trial, complete, state, skip_if_finished=True)
    _log(study, ended)
    return reason


def _next_trial(study: optuna.Study, seed: int) -> optuna.Trial:
    """Return a queued trial or a new one, with a sampler that has a seed of its own for each trial.

    So two machines never draw the same values, and a search that was killed draws what it would have drawn. The values
    of a repeated trial are given, and it takes no seed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage")  # `beating` records them
        trial = study.ask()
    earlier = study.get_trials(deepcopy=False)[: trial.number]
    own_seed = seed + sum("failed_trial" not in other.system_attrs for other in earlier)
    study.sampler = optuna.samplers.TPESampler(seed=own_seed, multivariate=True, constant_liar=True)
    return trial


def _proposed(trial: optuna.Trial, parameters: Parameters, on_not_allowed: OnNotAllowed | None) -> Parameters:
    try:
        return suggest(trial, parameters)
    except NotAllowedError as error:
        if on_not_allowed is not None:
            on_not_allowed(trial, str(error))
        raise


def _note_error(trial: optuna.Trial, error: str) -> None:
    with suppress(UpdateFinishedTrialError):
        trial.set_user_attr(ERROR, error.partition("\n")[0])


def _log(study: optuna.Study, trial: FrozenTrial) -> None:
    epochs = f"{state_of(trial)} after {trial.last_step or 0} epochs"
    if ERROR in trial.user_attrs:
        epochs += f" ({trial.user_attrs[ERROR]})"
    values = ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(trial.params.items())
    )
    found = "" if trial.value is None else f"{trial.value:.4f} bits/dim, "
    logger.info("trial %d (%d finished): %s%s; %s", trial.number, len(finished(study)), found, epochs, values)


def _wait_for_others(study: optuna.Study, heartbeats: Heartbeats) -> None:
    """Wait until a trial has ended that runs in another process, or is queued again because its process died."""
    numbers = _numbers(study)
    logger.info(
        "waiting for trial %s, which runs in another process, or did until a moment ago", ", ".join(map(str, numbers))
    )
    started, recorded = time.monotonic(), False
    while numbers == _numbers(study):
        time.sleep(heartbeats.poll)
        queue_silent_trials(study)
        if not recorded and time.monotonic() - started > heartbeats.grace:
            # Without any heartbeat, that of a process that died before its first one, a trial is never queued again.
            for trial in running(study):
                record_heartbeat(study, trial._trial_id)
            recorded = True


def _numbers(study: optuna.Study) -> list[int]:
    return [trial.number for trial in running(study)]
