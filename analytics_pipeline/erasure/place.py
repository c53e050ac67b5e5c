"""A place where ids are kept, as the erasure sees each of them."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from analytics_pipeline.erasure.subject import Subject


class Place(Protocol):
    """A place. Erasing it again changes nothing; after a kill at any point the same again completes it."""

    def count(self, subject: Subject) -> Mapping[str, int]:
        """Return how many rows, files or records would be changed or removed, by what they are called for people."""
        ...

    def erase(self, subject: Subject) -> None:
        """Change or remove them."""
        ...

    def search(self, subject: Subject) -> Iterator[str]:
        """Yield where something is left, for people."""
        ...

    def suspect(self, subject: Subject, /) -> Iterator[str]:
        """Yield where an id may be left as a part of a longer word, for people: whose it is there nobody knows."""
        ...
