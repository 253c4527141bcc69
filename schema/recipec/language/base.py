"""What every section of a recipe shares. No section lives here."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A mapping in a recipe: unknown keys are errors, values keep their types, nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=(), defer_build=True)

    def __deepcopy__(self, _memo: dict[int, Any] | None = None) -> Self:
        """Return the section itself, for it never changes: pydantic copies defaults, those of a recipe for each of them."""
        return self


def example(section: dict[str, Any]) -> ConfigDict:
    """Return the setting that gives a section its worked example, which the schema and the reference show."""
    return ConfigDict(json_schema_extra={"examples": [section]})


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
StageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]  # paths of the plan begin with it
BEST = "@best"  # behind the name of a training: the checkpoint of it with the best scores
ModelName = Annotated[str, Field(pattern=rf"^[a-z0-9][a-z0-9._-]{{0,99}}({BEST})?$")]
Start = Annotated[str, Field(pattern=rf"^[a-z0-9][a-z0-9_-]{{0,99}}({BEST})?$")]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[str, Field(pattern=r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$")]
