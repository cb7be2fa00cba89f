"""Pages of docs/ that the navigation in mkdocs.yml does not name come at the end of its section `Guide`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig

SECTION = "Guide"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add such pages under their own titles (a hook of MkDocs)."""
    if config.nav is None:
        return config
    named = set(_pages(config.nav))
    guide = next(entry[SECTION] for entry in config.nav if isinstance(entry, dict) and SECTION in entry)
    guide += [page.name for page in sorted(Path(config.docs_dir).glob("*.md")) if page.name not in named]
    return config


def _pages(entry: Any) -> Iterator[str]:
    """Yield the paths in a part of the navigation: a path, a title with one or with a section, or a list of these."""
    if isinstance(entry, str):
        yield entry
    else:
        for each in entry.values() if isinstance(entry, dict) else entry:
            yield from _pages(each)
