"""Chat templates by name, for models that bring none: the layout of turns that a family of models was trained on.

They are Jinja like a model's own, so that one way of rendering serves both. Their special tokens are written out; a model
whose tokenizer lacks one of them cannot use the template.
"""

from components.text.chat_template import DEFAULT, DEFAULT_DATE, ChatTemplate

# Tool calls and results as Qwen 2.5 and the Hermes models write them. `qwen` also shows the definitions of tools.
_CHATML_TURNS = """
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
            {{- message.content }}
            {%- for call in message.tool_calls or [] %}
                {{- '\\n' if message.content or not loop.first else '' }}
                {{- '<tool_call>\\n' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) + '\\n</tool_call>' }}
            {%- endfor %}
            {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- elif message.role != 'system' or message.content %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""

# The definitions of tools stand in the system turn, which the turns proper then leave out.
_QWEN = (
    """
{%- if tools %}
    {%- if messages[0].role == 'system' %}
        {%- set system, messages = messages[0].content + '\\n\\n', messages[1:] %}
    {%- else %}
        {%- set system = '' %}
    {%- endif %}
    {{- '<|im_start|>system\\n' + system + '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>' }}
    {%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{% endfor %}
    {{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
"""
    + _CHATML_TURNS
)

_CHATML = (
    """
{%- if tools %}{{- raise_exception('the template `chatml` has no place for tools; `qwen` has') }}{% endif %}
"""
    + _CHATML_TURNS
)

_LLAMA3 = """
{%- if tools %}{{- raise_exception('the template `llama3` has no place for tools') }}{% endif %}
{{- '<|begin_of_text|>' }}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {%- generation %}
            {{- message.content }}
            {%- for call in message.tool_calls or [] %}
                {{- '\\n' if message.content or not loop.first else '' }}
                {{- {'name': call.function.name, 'parameters': call.function.arguments} | tojson }}
            {%- endfor %}
            {{- '<|eot_id|>' }}
        {%- endgeneration %}
    {%- elif message.role != 'system' or message.content %}
        {{- '<|start_header_id|>' + ('ipython' if message.role == 'tool' else message.role) + '<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}
"""

# Gemma has no system turn: its text stands before that of the first user turn.
_GEMMA = """
{%- if tools %}{{- raise_exception('the template `gemma` has no place for tools') }}{% endif %}
{{- '<bos>' }}
{%- set ns = namespace(before='') %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set ns.before = ns.before + message.content + '\\n\\n' if message.content else ns.before %}
    {%- elif message.role == 'user' %}
        {{- '<start_of_turn>user\\n' + ns.before + message.content + '<end_of_turn>\\n' }}
        {%- set ns.before = '' %}
    {%- elif message.role == 'assistant' and not message.tool_calls %}
        {{- '<start_of_turn>model\\n' }}
        {%- generation %}{{- message.content + '<end_of_turn>' }}{% endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- raise_exception('the template `gemma` has no place for tools') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{% endif %}
"""

# The first Mistral models: `[INST]` is plain text, and there is no system turn.
_MISTRAL = """
{%- if tools %}{{- raise_exception('the template `mistral` has no place for tools') }}{% endif %}
{{- '<s>' }}
{%- set ns = namespace(before='') %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set ns.before = ns.before + message.content + '\\n\\n' if message.content else ns.before %}
    {%- elif message.role == 'user' %}
        {{- '[INST] ' + ns.before + message.content + ' [/INST]' }}
        {%- set ns.before = '' %}
    {%- elif message.role == 'assistant' and not message.tool_calls %}
        {%- generation %}{{- ' ' + message.content + '</s>' }}{% endgeneration %}
    {%- else %}
        {{- raise_exception('the template `mistral` has no place for tools') }}
    {%- endif %}
{%- endfor %}
"""

_PHI3 = """
{%- if tools %}{{- raise_exception('the template `phi3` has no place for tools') }}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' and not message.tool_calls %}
        {{- '<|assistant|>\\n' }}
        {%- generation %}{{- message.content + '<|end|>' }}{% endgeneration %}
        {{- '\\n' }}
    {%- elif message.role in ('system', 'user') %}
        {%- if message.content %}{{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}{% endif %}
    {%- else %}
        {{- raise_exception('the template `phi3` has no place for tools') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{% endif %}
"""

# Source, and the special tokens that it writes.
_NAMED: dict[str, tuple[str, tuple[str, ...]]] = {
    "chatml": (_CHATML, ("<|im_start|>", "<|im_end|>")),
    "llama3": (_LLAMA3, ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    "gemma": (_GEMMA, ("<bos>", "<start_of_turn>", "<end_of_turn>")),
    "mistral": (_MISTRAL, ("<s>", "</s>")),
    "qwen": (_QWEN, ("<|im_start|>", "<|im_end|>")),
    "phi3": (_PHI3, ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")),
}
NAMED_TEMPLATES = tuple(_NAMED)


def make_named_template(name: str, date: str = DEFAULT_DATE) -> ChatTemplate:
    """Returns the template of that name, one of `NAMED_TEMPLATES`."""
    return ChatTemplate(name, {DEFAULT: _NAMED[name][0]}, {}, date)


def list_needed_tokens(name: str) -> tuple[str, ...]:
    """Returns the special tokens that a named template writes; () for a template that is none of them."""
    return _NAMED[name][1] if name in _NAMED else ()
