"""MLflow's failures: which errors it raises, and the warnings that a run gives instead of ending."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from glow_pipeline.errors import first_line
from glow_pipeline.remote_storage import storage_failures

logger = logging.getLogger(__name__)
PATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",
}  # attempts after the first, seconds
HURRIED = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}


def restrain_mlflow() -> None:
    """Set fewer attempts and shorter timeouts than MLflow's own, and silence the log lines of its libraries.

    By itself MLflow tries each call eight times for up to two minutes each, which suits programs that do nothing else.
    Two attempts of six seconds show in less than 15 that an address does not answer. This project reports each failure
    once, in its own words.
    """
    # MLflow would print the address at the end, with its password.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401  # sets levels itself when it is imported

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def mlflow_failures() -> tuple[type[Exception], ...]:
    """Return what MLflow raises when a server, a database or an artifact storage fails; requests raises OSErrors."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # raised as it is if the database cannot even be opened

    return MlflowException, SQLAlchemyError, *storage_failures()


@contextmanager
def mlflow_may_fail(what: str) -> Iterator[None]:
    """Warn that `what` is not recorded, and continue, if MLflow fails inside this block.

    A command records dozens of things: after a failure each next one waits shorter, until one succeeds.
    """
    try:
        yield
    except mlflow_failures() as error:
        if not is_refusal(error):
            _change_patience(PATIENT, HURRIED)
        logger.warning("MLflow does not record %s (%s)", what, failure_line(error))
    else:
        be_patient()


def be_patient() -> None:
    """Wait as long again as before a failure."""
    _change_patience(HURRIED, PATIENT)


def _change_patience(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Change MLflow's patience; what a user has set in the environment stays."""
    for name, value in before.items():
        if os.environ.get(name) == value:
            os.environ[name] = after[name]


def is_refusal(error: Exception) -> bool:
    """Return whether MLflow was reached and would answer the same again. A proxy's own 404 is not MLflow's."""
    return getattr(error, "error_code", None) in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def failure_line(error: Exception) -> str:
    """Return a failure in one line without passwords; of a database's failure, the innermost message."""
    cause: BaseException | None = error
    while cause is not None and not hasattr(cause, "orig"):
        cause = cause.__cause__
    return without_password(first_line(getattr(cause, "orig", None) or error))


def without_password(text: str) -> str:
    """Replace the password of each address in the text."""
    return re.sub(r"(://[^/\s:@]*):[^/\s@]*@", r"\1:***@", text)
