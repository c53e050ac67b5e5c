"""Draws from ``Random.random`` alone, the one method whose sequence Python promises to keep."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def one_of(rng: Random, options: Sequence[T]) -> T:
    """Return one of the options, each as likely as it is often."""
    return options[int(rng.random() * len(options))]


def between(rng: Random, least: int, most: int) -> int:
    """Return an integer from ``least`` to ``most``, both included."""
    return least + int(rng.random() * (most - least + 1))


def about(rng: Random, expected: float) -> int:
    """Return one of the two integers around ``expected``, which is also the mean."""
    return int(expected + rng.random())
