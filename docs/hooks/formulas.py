"""Formulas as pictures in the page: no script and no font is fetched, and they look alike in every browser."""

import html
import re
from typing import Any

from ziamath.config import config
from ziamath.zmath import Latex

# pymdownx.arithmatex marks formulas so, with the delimiters of LaTeX.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
SIZE = 17  # pixels, near that of the text

config.svg2 = False  # glyphs as paths of their own, since parts of one picture may not refer to another's


def on_page_content(content: str, **_: Any) -> str:
    """Return a page's HTML with its LaTeX formulas drawn (a hook of MkDocs)."""
    content = INLINE.sub(lambda found: _drawn(found[1], inline=True), content)
    return BLOCK.sub(lambda found: f'<div class="formula">{_drawn(found[1], inline=False)}</div>', content)


def _drawn(escaped: str, inline: bool) -> str:
    """Return a formula as SVG in the colour of the text; its LaTeX is its name for screen readers."""
    latex = " ".join(html.unescape(escaped).split())
    formula = Latex(latex, size=SIZE, inline=inline, color="currentColor")
    style = f' style="vertical-align: {formula.getyofst():.1f}px"' if inline else ""
    return formula.svg().replace("<svg ", f'<svg role="img" aria-label="{html.escape(latex)}"{style} ', 1)
