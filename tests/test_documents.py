"""Paths, modules and links in the documents exist, and docs/architecture.md names every package."""

import importlib
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "glow_pipeline"
DOCUMENTS = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_paths_named_in_documents_exist() -> None:
    """A path that a user is to make has `mine` or `my_` in it."""
    pattern = re.compile(r"(?<![\w./<>~-])(\w[\w/-]*\.(?:py|sh|ipynb)|src/[\w/]+)\b")
    of_users = re.compile(r"\bmine\b|(?:\b|_)my_")
    link_text = re.compile(r"\[[^\]]*\]\(")
    named = [
        (document.name, name)
        for document in DOCUMENTS
        for name in pattern.findall(link_text.sub("(", document.read_text()))
        if not of_users.search(name)
    ]
    assert len(named) > 10
    assert [(document, name) for document, name in named if not any((r / name).exists() for r in (ROOT, PACKAGE))] == []


def test_modules_and_names_in_documents_exist() -> None:
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"(?<![-\w])glow_pipeline(?:\.\w+)+", document.read_text())
        if ".my_" not in name
    }
    assert len(named) >= 2
    assert [name for name in sorted(named) if not can_import(name)] == []


def can_import(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return bool(module) and can_import(module) and hasattr(importlib.import_module(module), attribute)
    return True


def test_links_in_documents_have_targets() -> None:
    links = [
        (document, *link.partition("#")[::2])
        for document in DOCUMENTS
        for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", document.read_text())
    ]
    assert len(links) > 30
    targets = [(document, (document.parent / path) if path else document, heading) for document, path, heading in links]
    assert [str(target) for _, target, _ in targets if not target.exists()] == []
    assert [
        (str(target), heading) for _, target, heading in targets if heading and heading not in anchors(target)
    ] == []


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_architecture_names_every_package_once() -> None:
    packages = {str(file.parent.relative_to(PACKAGE)) for file in PACKAGE.rglob("__init__.py")} - {"."}
    modules = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}
    named = {name for name in packages | modules if not name.startswith("pipelines/")}
    assert sorted(packages_of_architecture()) == sorted(named)


def test_architecture_lists_the_import_layers() -> None:
    layers = [set(layer.split(" | ")) for layer in import_layers()]
    named = [name for name in packages_of_architecture() if any(name in layer for layer in layers)]
    ranks = [next(rank for rank, layer in enumerate(layers) if name in layer) for name in named]
    assert set(named) == set().union(*layers)
    assert ranks == sorted(ranks)


def packages_of_architecture() -> list[str]:
    """Return the names in the first column of docs/architecture.md's tables, from the top."""
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "architecture.md").read_text(), flags=re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([\w/]+)`", row)]


def import_layers() -> list[str]:
    """Return the layers of pyproject.toml's import contract, the lowest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["glow_pipeline"])
    return [str(layer) for layer in reversed(layers)]
