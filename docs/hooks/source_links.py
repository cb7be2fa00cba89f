"""Links from a page to files of the project outside docs/, which are right on disk, lead to pages of the site.

A file of code becomes a page with its text, a notebook one with its cells, a folder one with a list of its files;
`README.md` is the start page and `data/README.md` a page of its own.
"""

import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<=\]\()(?P<path>(?:\.\./)+[^)\s#]+)(?P<anchor>#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".yml": "yaml", ".toml": "toml", ".sh": "bash"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file or folder outside docs/ to which a page links."""
    root = Path(config.config_file_path).parent
    for page in [file for file in files if file.is_documentation_page()]:
        for found in LINK.finditer(page.content_string):
            path = _outside(page.src_uri, found["path"])
            if path is None or path == "README.md" or files.get_file_from_path(_page_of(path)) is not None:
                continue
            if not (root / path).exists():
                raise PluginError(f"{page.src_uri}: links to {path}, which does not exist")
            files.append(File.generated(config, _page_of(path), content=_content(root, path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return the text of a page with such links changed to links of pages."""

    def changed(found: re.Match[str]) -> str:
        path = _outside(page.file.src_uri, found["path"])
        if path is None:
            return found[0]
        target = "index.md" if path == "README.md" else _page_of(path)
        folder = posixpath.dirname(page.file.src_uri)
        return os.path.relpath(target, folder or ".") + (found["anchor"] or "")

    return LINK.sub(changed, markdown)


def _outside(page: str, link: str) -> str | None:
    """Return the path from the project's root of a link that leaves docs/; None of another."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if path == "docs" or path.startswith("docs/") else path


def _page_of(path: str) -> str:
    return f"source/{path.removesuffix('.md').removesuffix('/README')}.md"


def _content(root: Path, path: str) -> str:
    """Return Markdown that shows a file's text, or lists a folder's files."""
    title = f"---\nsearch: {{exclude: true}}\n---\n# `{path}`\n\n"
    if (root / path).is_dir():
        names = sorted(each.name for each in (root / path).iterdir() if not each.name.startswith(("_", ".")))
        return title + "".join(f"- `{name}`\n" for name in names)
    text = (root / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return _relative_to_root(text, path)
    if path.endswith(".ipynb"):
        return title + "\n".join(_shown(cell) for cell in json.loads(text)["cells"])
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"{title}````{language}\n{text}````\n"


def _shown(cell: dict[str, Any]) -> str:
    """Return a notebook's cell as Markdown."""
    source = "".join(cell["source"])
    return f"```python\n{source}\n```\n" if cell["cell_type"] == "code" else f"{source}\n"


def _relative_to_root(text: str, path: str) -> str:
    """Return the text of a document outside docs/ with its links into docs/ as seen from its page."""
    folder = posixpath.dirname(_page_of(path))

    def changed(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found["path"]))
        return os.path.relpath(target.removeprefix("docs/"), folder) + (found["anchor"] or "")

    return LINK.sub(changed, text)
