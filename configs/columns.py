"""Which columns of the source files are what."""

from pydantic import model_validator

from configs.section import Name, Section


class ColumnsSection(Section):
    """Which source column feeds which feature: `instruction`, `input` and `output`, or a chat's `messages`.

    A chat may have its system text, the definitions of the tools that it may call, and its last answer (`output`) in columns of
    their own.
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
        elif self.system or self.tools:
            raise ValueError("`system` and `tools` go with `messages`; for records of instructions, give `text.system`")
        elif not (self.instruction and self.output):
            raise ValueError("needs `instruction` and `output`, or `messages`")
        return self
