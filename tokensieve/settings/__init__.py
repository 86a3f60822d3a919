"""Every setting of a project: declared once, rendered into `params.yaml` and read back from it.

Command-line flags, credentials (environment variables of each vendor) and paths (`project.py`) are
not settings.
"""

from tokensieve.settings.assignments import assigned, changed, tried
from tokensieve.settings.base_model import base_folders, check_base_model
from tokensieve.settings.declaration import Section
from tokensieve.settings.inputs import Base, Data
from tokensieve.settings.params_file import Settings, render, sections
from tokensieve.settings.sections import (
    Evaluate,
    Export,
    Finetune,
    Gate,
    Mask,
    Register,
    Schedule,
    Split,
    Validate,
    Vocabulary,
)
from tokensieve.settings.values import CHECKS, FORMAT_NAMES, VARIANTS

__all__ = [
    "CHECKS",
    "FORMAT_NAMES",
    "VARIANTS",
    "Base",
    "Data",
    "Evaluate",
    "Export",
    "Finetune",
    "Gate",
    "Mask",
    "Register",
    "Schedule",
    "Section",
    "Settings",
    "Split",
    "Validate",
    "Vocabulary",
    "assigned",
    "base_folders",
    "changed",
    "check_base_model",
    "render",
    "sections",
    "tried",
]
