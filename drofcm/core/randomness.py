"""Random streams: one seed, one named stream per purpose, never a global generator.

A stream yields the same bits on every machine, but what exponentials and logarithms make of them differs in the last
bits from one processor and one library of mathematics to the next. So figures that are drawn are settled where they
are made: rounded, to far below what they mean and far above those bits.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

__all__ = ["settled", "stream"]


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


def settled(values: npt.ArrayLike, decimals: int = 6) -> npt.NDArray[np.float64]:
    """Drawn figures as every processor has them: rounded, by default to a millionth (a watt, where they are MW).

    Two machines whose figures differ by a part in 10^16 agree afterwards unless a figure lies that close to the middle
    between two millionths: once in some 10^9 figures.

    Parameters
    ----------
    values
        What was drawn. Rounding keeps its order; whoever has bounds that are no round figures clips to them afterwards.
    decimals
        Decimals that are kept.
    """
    # a negative zero would be another byte
    return np.asarray(np.round(np.asarray(values, dtype=float), decimals) + 0.0, dtype=float)
