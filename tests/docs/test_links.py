"""What leads into the documentation from outside of it; Sphinx looks at the rest."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_every_link_leads_to_a_file(page):
    """Every relative link, and every picture, is there."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)|src=\"(?!https?:)([^\"]+)", (ROOT / page).read_text())
    missing = [link for pair in links for link in pair if link and not (ROOT / link).exists()]
    assert not missing
