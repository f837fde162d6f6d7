"""Which columns of the source files are what."""

from pydantic import model_validator

from configs.section import Name, Section


class ColumnsSection(Section):
    """Which source column feeds which feature: `instruction`, `input` and `output`, or a chat's `messages`.

    Both may have a system text for each record (`system`). A chat may have the definitions of the tools that it may call, and its last
    answer (`output`) in columns of their own.
    """

    instruction: Name | None = None
    input: Name | None = None
    output: Name | None = None
    messages: Name | None = None
    system: Name | None = None
    tools: Name | None = None

    @model_validator(mode="after")
    def _check_shape(self) -> "ColumnsSection":
        if self.messages is not None:
            if self.instruction or self.input:
                raise ValueError("give either `messages`, or `instruction` and `output` (and `input`), not both")
        elif self.tools:
            raise ValueError("`tools` goes with `messages`: an answer to one instruction calls none")
        elif not (self.instruction and self.output):
            raise ValueError("needs `instruction` and `output`, or `messages`")
        return self
