"""What the parts of a work depend on, and what commands that share a work tell each other of it."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from glow_pipeline.stores import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fingerprint:
    """What the parts of a work depend on.

    Attributes:
        work: a digest of what is computed.
        made_with: what computes it, on which the last bits may depend: the device, versions of libraries, ...
        key: a digest of both.
    """

    work: str
    made_with: Mapping[str, str]
    key: str


def report_others(place: Store, title: str, here: Fingerprint) -> None:
    """Warn of commands that share a work and make its parts with something else, so that they do not count here.

    Args:
        place: of all commands that share the work; this one leaves word there.
        title: of the work, for a person.
        here: of the parts that this command makes.
    """
    start = f"made_with-{here.work}-"
    own, names = f"{start}{here.key}.json", place.names()
    for name in sorted(names - {own}):
        if name.startswith(start):
            theirs = json.loads(place.read(name))
            differ = [key for key, value in here.made_with.items() if theirs.get(key) != value]
            logger.warning(
                "%s: other commands make its parts with %s, and this one with %s; their parts do not count here, since "
                "scores may differ in their last digits. Use the same for all",
                title,
                *(", ".join(f"{key}={of.get(key)}" for key in differ) for of in (theirs, here.made_with)),
            )
    if own not in names:
        with TemporaryDirectory() as folder:
            (Path(folder) / own).write_text(json.dumps(dict(here.made_with)), encoding="utf-8")
            place.put(own, Path(folder) / own)
