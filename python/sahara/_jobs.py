"""Waiting for the native module's jobs, which run beside Python and hold no lock of it.

Whoever waits sees how far a job is, and whoever stops waiting (Ctrl-C, a cancelled task) stops the job.
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from typing import Any, Optional

from ._native import Job

LOG = logging.getLogger("sahara")
# Seconds between two looks at a job: as long Ctrl-C waits at most to be seen.
TICK = 0.05
# Seconds that a job which was stopped has to end in good order.
GRACE = 10.0


def run(job: Job, progress: bool = False) -> Any:
    """Waits for a job; its result."""
    with Meter(job, progress) as meter:
        try:
            while not job.wait(TICK):
                meter.show()
        except BaseException:
            # Ctrl-C above all: the nodes stop, and the exception goes on. A second one does not wait for them.
            until = time.monotonic() + (GRACE if job.stop() else 0)
            while time.monotonic() < until and not job.wait(TICK):
                pass
            raise
    return job.result()


async def arun(job: Job, progress: bool = False) -> Any:
    """Waits for a job without holding up the event loop; its result."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        try:
            loop.call_soon_threadsafe(ended.set)
        except RuntimeError:
            pass  # The loop is closed: nobody waits any more.

    job.when_ended(tell)
    with Meter(job, progress) as meter:
        try:
            while not ended.is_set():
                try:
                    await asyncio.wait_for(ended.wait(), TICK if progress else None)
                except asyncio.TimeoutError:
                    meter.show()
        except BaseException:
            job.stop()
            raise
    return job.result()


class Meter:
    """Shows how far a job is, with tqdm if asked, and passes on what should be remembered to the log."""

    def __init__(self, job: Job, progress: bool) -> None:
        self._job, self._bar = job, _bar() if progress else None

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: object) -> None:
        self.show()
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()

    def show(self) -> None:
        for note in self._job.notes():
            LOG.info(note)
        if self._bar is None:
            return
        step, done, all_of_it = self._job.progress()
        if self._bar.desc != f"{step}: " or self._bar.total != (all_of_it or None):
            self._bar.reset(total=all_of_it or None)
            self._bar.set_description(step, refresh=False)
        self._bar.update(done - self._bar.n)


def _bar() -> Optional[Any]:
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]
    except ImportError:
        warnings.warn("progress=True needs tqdm (pip install tqdm): going on without", stacklevel=5)
        return None
    return tqdm(desc="starting", leave=False)
