"""Artifacts of a project that was moved or copied with its MLflow database.

MLflow keeps the absolute place of each run's artifacts. It has no command that changes it, and makes a relative place
absolute when an experiment is created.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

logger = logging.getLogger(__name__)
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
PATIENCE = 5.0  # seconds to wait for another command that writes


def follow_artifacts(database: Path, before: str, now: str) -> bool:
    """Replace the old place of artifacts in a database by the one to which they were moved with it.

    Args:
        database: SQLite file of MLflow.
        before, now: addresses of the folder, `file:///...`.

    Returns:
        Whether the database has the new place; False where it cannot be changed now.
    """
    try:
        with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection, connection:
            for table, column in PLACES:
                connection.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) where substr({column} || '/', 1, ?) = ?",
                    (now, len(before) + 1, len(before) + 1, f"{before}/"),
                )
    except sqlite3.Error as error:
        logger.warning("%s: cannot follow its artifacts from %s to %s (%s)", database, before, now, error)
        return False
    logger.info("The project was moved or copied: MLflow's artifacts are now in %s, no longer in %s.", now, before)
    return True
