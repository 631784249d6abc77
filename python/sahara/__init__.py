"""Confidential inference: a model answers on three share nodes, and none of them sees the question.

    import sahara

    with sahara.connect() as client:
        vectors = client.embed(["a private sentence"])
"""

from __future__ import annotations

from typing import Optional

from . import _cpu

_cpu.check()

from . import _native, models
from ._jobs import arun, run
from .client import Classification, Client, NodeStatus, Path, Vectors
from .errors import (
    FaultError,
    InputError,
    ModelChangedError,
    ModelNotFoundError,
    SaharaError,
    StoppedError,
    TruncationWarning,
    UnreachableError,
)

__version__: str = _native.VERSION
__all__ = [
    "Classification",
    "Client",
    "FaultError",
    "InputError",
    "ModelChangedError",
    "ModelNotFoundError",
    "NodeStatus",
    "SaharaError",
    "StoppedError",
    "TruncationWarning",
    "UnreachableError",
    "Vectors",
    "aconnect",
    "connect",
    "local",
    "models",
    "whoami",
]


def connect(
    model: str = models.DEFAULT,
    *,
    committee: Optional[Path] = None,
    home: Optional[Path] = None,
    mode: str = "exact",
    weights: Optional[str] = None,
    jobs: Optional[int] = None,
    progress: bool = False,
) -> Client:
    """A client of a model on the share nodes.

    ``model`` is one of this machine (``sahara.models.ls()``) or somebody else's as ``OWNER/NAME``
    (``sahara.models.shared()``). ``committee`` is the file that the nodes' operators give away; without it, the local
    network of ``sahara devnet up``. ``home`` is Sahara's folder: ``$SAHARA_HOME``, or ``~/.sahara``.

    ``mode="exact"`` gives the same integers as ``sahara.local``, ``mode="faithful"`` may be one off in the last place.
    ``weights`` is ``"private"`` or ``"open"``: whether the nodes may know the weights of your own model. ``jobs`` is
    how many texts are on the network at once, up to 64.

    A model of your own that the nodes do not have is handed to them at the first question, for your own key.
    """
    return Client(run(_native.Session.connect(model, committee, home, mode, weights, jobs), progress))


async def aconnect(
    model: str = models.DEFAULT,
    *,
    committee: Optional[Path] = None,
    home: Optional[Path] = None,
    mode: str = "exact",
    weights: Optional[str] = None,
    jobs: Optional[int] = None,
    progress: bool = False,
) -> Client:
    """As ``connect``, for ``async with await sahara.aconnect() as client:``."""
    return Client(await arun(_native.Session.connect(model, committee, home, mode, weights, jobs), progress))


def local(
    model: str = models.DEFAULT,
    *,
    home: Optional[Path] = None,
    threads: Optional[int] = None,
    progress: bool = False,
) -> Client:
    """A client that computes on this machine, in the clear: the same integers as the share nodes in exact mode.

    ``threads``: all cores unless said otherwise.
    """
    return Client(run(_native.Session.local(model, home, threads or 0), progress))


def whoami(home: Optional[Path] = None) -> str:
    """The key that this machine asks with: operators of share nodes and owners of models put it on their lists."""
    key, _ = _native.whoami(home)
    return key
