"""Two versions of a model that the gate compares."""

from __future__ import annotations

from dataclasses import dataclass

from tokensieve.project import Layout
from tokensieve.registry.store import RegistryReader
from tokensieve.settings import Settings


@dataclass(frozen=True)
class VersionPair:
    """A challenger and the champion, and where they are compared.

    Attributes:
        layout: The project. It has the test texts.
        settings: Its settings. They have the limits of the gate.
        registry: The registry of the model.
        model: The name of the registered model.
        challenger: The number of the version that may become the champion.
        champion: The number of the present champion. None: there is none.
    """

    layout: Layout
    settings: Settings
    registry: RegistryReader
    model: str
    challenger: str
    champion: str | None
