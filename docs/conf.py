"""The documentation as a site: ``make site``. Its navigation is the list in ``index.md``, in the same order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "otel-streaming"
copyright = "the authors of otel-streaming"  # noqa: A001 - Sphinx calls it so
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project
nitpicky = True
myst_heading_anchors = 4  # as GitHub makes them: a link to one that is not there is a warning
myst_fence_as_directive = ["mermaid"]

_LINK = re.compile(r"^- \[(?P<title>.+?)\]\((?P<page>\S+)\.md\)", re.MULTILINE)


def _navigate(_: Sphinx, page: str, source: list[str]) -> None:
    """Make of each section of the index one part of the navigation: GitHub shows the same list and no directive."""
    if page != "index":
        return
    for section in re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]:
        caption, pages = section.splitlines()[0], [f"{title} <{page}>" for title, page in _LINK.findall(section)]
        if pages:
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


def setup(app: Sphinx) -> None:
    """Hand Sphinx the navigation."""
    app.connect("source-read", _navigate)
