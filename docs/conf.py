"""Settings of Sphinx.

Build the documentation with `make docs`; it opens as `docs/_build/index.html`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from tokensieve import __version__

project = "tokensieve"
release = version = __version__
html_title = f"tokensieve {release}"
html_theme = "furo"
html_static_path = ["_static"]
html_theme_options = {"navigation_with_keys": True}

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
html_math_renderer = "mathjax"

# Options such as --data keep their hyphens.
smartquotes = False
# Names in single backticks, as in the docstrings, are code.
default_role = "code"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
