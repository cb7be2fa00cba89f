"""Which part of each batch is whose."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of `of` parts of each batch."""

    rank: int = 0
    of: int = 1

    def rows(self, n: int) -> slice:
        """Of n rows those of this part: in order, and as many as the others have, or one more or less."""
        return slice(n * self.rank // self.of, n * (self.rank + 1) // self.of)
