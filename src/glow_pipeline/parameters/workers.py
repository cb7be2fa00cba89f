"""The parameters of work that is shared: `workers.*`."""

from typing import Annotated

from pydantic import Field

from glow_pipeline.parameters.group import Changeable, OneOf, ParameterGroup
from glow_pipeline.workers.choice import Workers
from glow_pipeline.workers.engines import ENGINES


class WorkersParameters(ParameterGroup):
    """Who ingests and scores: no result depends on it."""

    engine: Changeable[Annotated[str, OneOf(ENGINES)]] = Field(
        "processes",
        description="processes: this machine; array: the same command typed workers.of times, each does its share; "
        "ray: a Ray cluster",
    )
    of: Changeable[int | None] = Field(
        None, ge=1, description="commands that share the work; for workers.engine=array; null: as the launcher says"
    )
    part_images: Changeable[int | None] = Field(
        None,
        ge=1,
        description="images of a part, which is lost when its process is killed; null: about 256 MiB, or a minute of "
        "scoring",
    )

    @property
    def choice(self) -> Workers:
        """The same for layers that know no parameters."""
        return Workers(self.engine, self.of, self.part_images)
