"""The shard of each batch that one process works on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of `world_size` parts of each batch."""

    rank: int = 0
    world_size: int = 1

    def rows(self, n: int) -> slice:
        """Return the rows of this shard among n: consecutive, and as many as in other shards, or one more or less."""
        return slice(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size)
