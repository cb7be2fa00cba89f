"""Write docs/images/architecture.svg: the import layers of pyproject.toml with the subjects of docs/architecture.md.

`python docs/hooks/architecture.py PROJECT`, part of `make docs`.
"""

import re
import sys
import textwrap
import tomllib
from html import escape
from pathlib import Path

PICTURE = Path("docs", "images", "architecture.svg")
WIDTH, GAP, MARGIN, TITLE, NAME, LINE = 960, 8, 16, 44, 36, 16  # pixels
LETTER = 5.6  # width of one of the subjects' letters, on average


def picture(project: Path) -> str:
    """Return the SVG of the project's layers, what a person types at the top, the model at the bottom."""
    subjects = subjects_of_packages(project)
    boxes, y = [], float(TITLE)
    for packages in import_layers(project):
        shared: dict[str, list[str]] = {}  # packages that share a subject share a box
        for package in packages:
            shared.setdefault(subjects[package], []).append(package)
        width = (WIDTH - 2 * MARGIN - (len(shared) - 1) * GAP) / len(shared)
        lines = {subject: textwrap.wrap(subject, int((width - 24) / LETTER)) for subject in shared}
        height = NAME + LINE * max(map(len, lines.values()))
        for column, (subject, names) in enumerate(shared.items()):
            boxes += _box(MARGIN + column * (width + GAP), y, width, height, ", ".join(names), lines[subject])
        y += height + GAP
    size = f'viewBox="0 0 {WIDTH} {y + GAP:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" role="img">',
            "<title>Import layers of glow_pipeline</title>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            f'<text x="{MARGIN}" y="28" font-size="15" fill="#333333">'
            "A package imports only packages below it. Commands come in at the top; the model is at the bottom.</text>",
            *boxes,
            "</svg>\n",
        ]
    )


def import_layers(project: Path) -> list[list[str]]:
    """Return the packages of each layer of the import contract, the highest first."""
    contracts = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["glow_pipeline"])
    return [layer.split(" | ") for layer in layers]


def subjects_of_packages(project: Path) -> dict[str, str]:
    """Return what docs/architecture.md says about each package; packages of one row share what it says."""
    subjects: dict[str, str] = {}
    text = (project / "docs" / "architecture.md").read_text(encoding="utf-8")
    for names, cell in re.findall(r"^\| (`.*?`) \| (.*) \|$", text, flags=re.MULTILINE):
        subject = re.sub(r" \(\[.*?\]\(.*?\)\)", "", cell)  # a link is none in a picture
        said = subject.replace("`", "").split("; ")
        packages = re.findall(r"`([\w/]+)`", names)
        shared = said if len(said) == len(packages) else [subject.replace("`", "")] * len(packages)
        subjects |= dict(zip(packages, shared, strict=True))
    return subjects


def _box(x: float, y: float, width: float, height: float, name: str, lines: list[str]) -> list[str]:
    box = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
    return [
        f'<rect {box} fill="#eef4f9" stroke="#0072b2"/>',
        f'<text x="{x + 12:g}" y="{y + 22:g}" font-size="15" font-weight="bold" fill="#222222">{escape(name)}</text>',
        *(
            f'<text x="{x + 12:g}" y="{y + NAME + 4 + LINE * i:g}" font-size="12" fill="#444444">{escape(line)}</text>'
            for i, line in enumerate(lines)
        ),
    ]


if __name__ == "__main__":
    root = Path(sys.argv[1])
    (root / PICTURE).write_text(picture(root), encoding="utf-8")
