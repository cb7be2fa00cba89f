"""The database of a study: its address, and opening it while other processes open it too."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import sqlalchemy
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from glow_pipeline.errors import GlowPipelineError, first_line

OPEN_ATTEMPTS = 3
SQLITE, SQLITE_PATIENCE = "sqlite", 60  # seconds to wait for another process that is writing
# Possible errors while another process creates the tables.
TABLES_BEING_CREATED = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.ProgrammingError,
    sqlalchemy.exc.IntegrityError,
    StorageInternalError,
)
URL_PARTS = ("username", "password", "host", "database")

OnStale = Callable[[Study, FrozenTrial], None]


def open_storage(storage: str, project: Path, heartbeat: int, grace: int, on_stale: OnStale) -> RDBStorage:
    """Open the database; its tables are created if it has none.

    Args:
        storage: the value of `search.storage`.
        project: folder that a SQLite file's path is relative to.
        heartbeat: seconds between two heartbeats of a running trial.
        grace: seconds of silence after which a trial is stale.
        on_stale: takes a stale trial.

    Raises:
        GlowPipelineError: the address is not valid, or the kind of database cannot be used.
    """
    address = _address(storage, project)
    sqlite = address.get_backend_name() == SQLITE
    alone: AbstractContextManager[object] = nullcontext()
    if sqlite:
        file = Path(str(address.database))
        file.parent.mkdir(parents=True, exist_ok=True)
        alone = FileLock(file.with_name(f".{file.name}.lock"))  # on a slow disk its tables take long to create
    # Optuna fills in {names} in an address.
    url = address.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    for attempt in range(1, OPEN_ATTEMPTS + 1):
        try:
            with alone:
                opened = RDBStorage(
                    url,
                    engine_kwargs={"connect_args": {"timeout": SQLITE_PATIENCE}} if sqlite else {"pool_pre_ping": True},
                    heartbeat_interval=heartbeat,
                    grace_period=grace,
                    heartbeat_stale_trial_callback=on_stale,
                )
            break
        except TABLES_BEING_CREATED:
            if attempt == OPEN_ATTEMPTS:
                raise
            time.sleep(attempt)
    if sqlite:
        # SQLite has no SELECT ... FOR UPDATE, on which Optuna relies when it hands out a queued trial.
        sqlalchemy.event.listen(
            opened.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")
        )
    return opened


@contextmanager
def database_errors_in_one_line(storage: str, *others: type[Exception]) -> Iterator[None]:
    """Turn errors of the database, and the others, within the block into a GlowPipelineError of one line."""
    caught: tuple[type[Exception], ...] = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, *others)
    try:
        yield
    except caught as error:
        line = first_line(error.__cause__ or error)
        raise GlowPipelineError(f"search.storage={storage}: {line}; fix it and type the command again") from error


def _address(storage: str, project: Path) -> sqlalchemy.URL:
    """Return the database's address, with the environment variables in it replaced by their values."""
    example = "write sqlite:///data/06_models/optuna.db or postgresql://user:$PASSWORD@host/database"
    try:
        typed = sqlalchemy.make_url(storage)
    except sqlalchemy.exc.ArgumentError:
        raise GlowPipelineError(f"search.storage={storage}: not an SQLAlchemy address; {example}") from None
    if typed.password is not None and not str(typed.password).startswith("$"):
        raise GlowPipelineError(
            "search.storage: the password would be written into MLflow and models; name a variable of the environment "
            "in its place, as in postgresql://user:$PASSWORD@host/database"
        )
    named = {part: os.path.expandvars(str(value)) for part in URL_PARTS if (value := getattr(typed, part)) is not None}
    address = typed.set(**named)  # type: ignore[arg-type]
    if address.get_backend_name() != SQLITE:
        return address
    if address.database in (None, "", ":memory:"):
        raise GlowPipelineError(f"search.storage={storage}: a database in memory would forget the search; {example}")
    return address.set(database=str(project / str(address.database)))
