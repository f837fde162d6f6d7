"""What all sections of configuration files have in common."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from components.options import check_environment_name

Name = Annotated[str, StringConstraints(min_length=1)]


def _check_host(value: str) -> str:
    if not re.fullmatch(r"[^\s/@\\?#]+", value):
        raise ValueError("must be the name or the address of a machine alone: no scheme, user, password or path")
    return value


def _check_host_or_folder(value: str) -> str:
    # PostgreSQL's clients take the folder of a socket for a host.
    return value if re.fullmatch(r"/[^\s@?#]*", value) else _check_host(value)


HostOrSocketFolder = Annotated[Name, AfterValidator(_check_host_or_folder)]
HostName = Annotated[Name, AfterValidator(_check_host)]
EnvironmentName = Annotated[str, AfterValidator(check_environment_name)]


class Section(BaseModel):
    """A part of a configuration file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NamedSection(Section):
    """A thing by its name; all other keys are its own options, which are checked where the name is known."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: Name

    @property
    def options(self) -> dict[str, Any]:
        """The options as written in the file."""
        return dict(self.model_extra or {})


def expand_name(value: Any) -> Any:
    """Returns the section of a thing that was given by its name alone."""
    return {"name": value} if isinstance(value, str) else value
