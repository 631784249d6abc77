"""A model that can be asked: on the share nodes, or on this machine."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy
from numpy.typing import NDArray

from . import _native
from ._jobs import arun, run
from .errors import InputError, TruncationWarning

Path = Union[str, "os.PathLike[str]"]
Vectors = NDArray[numpy.float32]
# Of all texts: numbers, of a classifier scores; of each text: tokens; which texts were cut.
Answers = tuple[bytearray, Optional[bytearray], list[int], list[int]]
# Texts, and the job that answers for them; none if there are none.
Begun = tuple[list[str], Optional[_native.Job]]
# The answers for no text.
NOTHING: Answers = (bytearray(), None, [], [])


@dataclass(frozen=True)
class Classification:
    """What a classifier says of one text."""

    label: str
    """The label with the highest score."""
    score: float
    """Its score."""
    scores: dict[str, float]
    """The score of each label, highest first."""
    outputs: Vectors
    """What the model itself puts out, before softmax or sigmoid, in the order of its labels."""


@dataclass(frozen=True)
class NodeStatus:
    """What a share node says of itself."""

    name: str
    """What the committee calls it."""
    error: Optional[str]
    """Why it says nothing; then the rest is empty."""
    ready: bool
    """Whether it takes jobs."""
    version: str
    uptime_seconds: int
    jobs_running: int
    jobs_done: int
    jobs_failed: int
    packs_ready: int
    cpu_seconds: float


class Client:
    """Asks one model. ``sahara.connect`` and ``sahara.local`` make it; threads may share it, processes may not."""

    def __init__(self, session: _native.Session) -> None:
        self._open: Optional[_native.Session] = session
        self._process = os.getpid()

    # What it is.

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._session.name

    @property
    def sharing(self) -> Optional[str]:
        """Under which name the share nodes hold it (``OWNER/NAME``); None if it is computed on this machine."""
        return self._session.sharing

    @property
    def dimensions(self) -> int:
        """Numbers of a vector, or of a classifier's outputs."""
        return self._session.dimensions

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model reads."""
        return self._session.max_tokens

    @property
    def labels(self) -> Optional[list[str]]:
        """The labels of a classifier; None if it embeds."""
        return self._session.labels

    @property
    def prompts(self) -> dict[str, str]:
        """The model's prompts by name."""
        return dict(self._session.prompts)

    @property
    def default_prompt(self) -> Optional[str]:
        """Name of the prompt that is put before each text when none is named."""
        return self._session.default_prompt

    # What it does.

    def embed(self, texts: Sequence[str], *, prompt: Optional[str] = None, progress: bool = False) -> Vectors:
        """One vector a text, in their order: an array of float32 with a row each.

        ``prompt`` names the model's prompt to put before each text (``client.prompts`` lists them). Ctrl-C stops the
        work on the nodes. A text longer than the model reads is cut, with a ``TruncationWarning``.
        """
        texts, job = self._embedding(texts, prompt)
        return self._vectors(texts, run(job, progress) if job else None)

    async def aembed(self, texts: Sequence[str], *, prompt: Optional[str] = None, progress: bool = False) -> Vectors:
        """As ``embed``; a task that is cancelled stops the work on the nodes."""
        texts, job = self._embedding(texts, prompt)
        return self._vectors(texts, await arun(job, progress) if job else None)

    def classify(
        self,
        texts: Sequence[str],
        pairs: Union[str, Sequence[str], None] = None,
        *,
        progress: bool = False,
    ) -> list[Classification]:
        """What a classifier says of each text.

        Models that read two texts take the second from ``pairs``: one for all, or one for each.
        """
        texts, job = self._classifying(texts, pairs)
        return self._classified(texts, run(job, progress) if job else None)

    async def aclassify(
        self,
        texts: Sequence[str],
        pairs: Union[str, Sequence[str], None] = None,
        *,
        progress: bool = False,
    ) -> list[Classification]:
        """As ``classify``; a task that is cancelled stops the work on the nodes."""
        texts, job = self._classifying(texts, pairs)
        return self._classified(texts, await arun(job, progress) if job else None)

    def status(self) -> list[NodeStatus]:
        """What each share node says of itself, or why it says nothing; empty for a model on this machine."""
        return [NodeStatus(**node) for node in run(self._session.status())]

    async def astatus(self) -> list[NodeStatus]:
        """As ``status``."""
        return [NodeStatus(**node) for node in await arun(self._session.status())]

    # How long it is there.

    def close(self) -> None:
        """Lets go of the model, and gives up what other threads still ask; the client cannot be asked any more."""
        if self._open is not None:
            self._open.close()
        self._open = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._open is None:
            return "<sahara.Client, closed>"
        where = f"on the share nodes as {self._open.sharing}" if self._open.sharing else "on this machine"
        return f"<sahara.Client of {self._open.name} {where}>"

    def __reduce__(self) -> Any:
        raise TypeError("a client has keys and connections and stays in its process: connect in each one")

    @property
    def _session(self) -> _native.Session:
        if self._open is None:
            raise InputError("this client is closed: connect again")
        if os.getpid() != self._process:
            raise InputError("this client belongs to the process that made this one: connect after the fork")
        return self._open

    def _embedding(self, given: Sequence[str], prompt: Optional[str]) -> Begun:
        session, texts = self._session, _listed(given)
        if session.labels is not None:
            raise InputError(f"{session.name} is a classifier: use client.classify()")
        return texts, session.answer(texts, None, prompt) if texts else None

    def _classifying(self, given: Sequence[str], pairs: Union[str, Sequence[str], None]) -> Begun:
        session, texts = self._session, _listed(given)
        if session.labels is None:
            raise InputError(f"{session.name} is no classifier: use client.embed(), or connect to a classifier")
        if isinstance(pairs, str):
            pairs = [pairs] * len(texts)
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(f"there are {len(texts)} texts and {len(pairs)} pairs: give one for each text, or one for all")
        return texts, session.answer(texts, None if pairs is None else list(pairs), None) if texts else None

    def _vectors(self, texts: list[str], answers: Optional[Answers]) -> Vectors:
        numbers, _, tokens, cut = answers or NOTHING
        _warn(cut, tokens)
        return _rows(numbers, len(texts), self.dimensions)

    def _classified(self, texts: list[str], answers: Optional[Answers]) -> list[Classification]:
        numbers, scores, tokens, cut = answers or NOTHING
        _warn(cut, tokens)
        labels = self.labels or []
        outputs = _rows(numbers, len(texts), len(labels))
        all_scores = _rows(scores or bytearray(), len(texts), len(labels))
        return [_classification(labels, *rows) for rows in zip(all_scores, outputs)]


def _classification(labels: list[str], scores: Vectors, outputs: Vectors) -> Classification:
    ranked = sorted(zip(labels, scores.tolist()), key=lambda pair: -pair[1])
    return Classification(ranked[0][0], ranked[0][1], dict(ranked), outputs)


def _rows(numbers: bytearray, rows: int, columns: int) -> Vectors:
    """An array over the memory that the native module has filled; nothing is copied."""
    return numpy.frombuffer(numbers, dtype=numpy.float32).reshape(rows, columns)


def as_lists(vectors: Vectors) -> list[list[float]]:
    """For those who take no arrays."""
    rows: list[list[float]] = vectors.tolist()
    return rows


def _listed(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts is a list of strings: for one text give [text]")
    return list(texts)


def _warn(cut: list[int], tokens: list[int]) -> None:
    if cut:
        which = ", ".join(str(index) for index in cut[:10]) + (", …" if len(cut) > 10 else "")
        warnings.warn(
            f"longer than the model reads, only {max(tokens[index] for index in cut)} tokens count: text {which}",
            TruncationWarning,
            stacklevel=4,
        )
