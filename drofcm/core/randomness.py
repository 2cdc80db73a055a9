"""Random streams: one seed, one named stream per purpose, never a global generator."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator that depends on the seed and its purpose only.

    Streams of different purposes are independent, so that drawing more numbers for one purpose (say, shocks)
    never changes what another one (say, faults) yields, and scenario 17 is the same in every chunk.

    Parameters
    ----------
    seed
        The study's seed, a non-negative integer.
    *purpose
        Words and numbers that name the stream, for example ``"shocks", 17``.

    Raises
    ------
    ValueError
        If the seed or a number in ``purpose`` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed}")
    key = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in purpose]
    if any(part < 0 for part in key):
        raise ValueError(f"numbers that name a random stream must not be negative, got {purpose}")
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=tuple(key)))
