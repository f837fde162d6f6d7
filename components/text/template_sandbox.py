"""Jinja for chat templates: sandboxed as in transformers, and bounded, since a template is code of somebody else.

A template can read what it is given and nothing else. It ends with an error, instead of taking all time or memory, when it
loops or makes a text too long.
"""

import datetime
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
from jinja2 import ext, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

# Turns of all loops and macros of one rendering; CPU seconds of one; characters of its text and of any text on the way.
MAX_TURNS = 1_000_000
MAX_SECONDS = 10.0
MAX_CHARACTERS = 1 << 24
_MAX_BITS = 1 << 12
# A number of six digits in a format is a width or a precision that no text needs.
_WIDE_FORMAT = re.compile(r"\d{6}")
_CLOCK_EVERY = 256


class TemplateLimitError(Exception):
    """A template takes more time or memory than any conversation needs."""


class GenerationTag(ext.Extension):
    """`{% generation %} ... {% endgeneration %}`: shown as it is; between two marks where the caller asks for them."""

    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        """Makes a call around the block's body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_surround"), [], [], body).set_lineno(line)

    def _surround(self, caller: Callable[[], str]) -> str:
        environment = self.environment
        assert isinstance(environment, TemplateEnvironment)
        begin, end = environment.marks or ("", "")
        return f"{begin}{caller()}{end}"


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The environment of one run's chat templates. Threads may render at the same time."""

    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def __init__(self, date: datetime.date):
        """Sets it up.

        Args:
            date: What `strftime_now` takes for today.
        """
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, ext.loopcontrols])
        moment = datetime.datetime.combine(date, datetime.time())
        self._local = threading.local()
        self.filters["tojson"] = _to_json
        for name in ("center", "format", "indent", "join", "replace"):
            self.filters[name] = _bounded_filter(self.filters[name])
        self.filters["__bounded"] = check_length
        self.filters["__tick"] = self._tick
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = moment.strftime
        self.globals["dict"] = _TemplateDict()
        self.globals["namespace"] = _TemplateNamespace
        del self.globals["lipsum"]

    @property
    def marks(self) -> tuple[str, str] | None:
        """What stands around `{% generation %}` blocks in the rendering under way; None for nothing."""
        return getattr(self._local, "marks", None)

    def render(self, template: jinja2.Template, variables: dict[str, Any], marks: tuple[str, str] | None = None) -> str:
        """Returns a template's text.

        Args:
            template: Of this environment.
            variables: What it can read.
            marks: See `marks`.

        Raises:
            TemplateLimitError: It loops, or its text is too long.
            Exception: Whatever else a template does wrong, under many names.
        """
        self._local.turns = 0
        self._local.started = time.thread_time()
        self._local.marks = marks
        try:
            pieces, length = [], 0
            for piece in template.generate(variables):
                length += len(piece)
                if length > MAX_CHARACTERS:
                    raise TemplateLimitError(f"it writes more than {MAX_CHARACTERS:,} characters")
                pieces.append(piece)
            return "".join(pieces)
        finally:
            self._local.marks = None

    @jinja2.pass_context  # so that it is not computed once, while the template is compiled
    def _tick(self, _context: Any, _value: Any) -> None:
        """Counts a turn of a loop or macro."""
        local = self._local
        local.turns += 1
        if local.turns > MAX_TURNS:
            raise TemplateLimitError(f"its loops take more than {MAX_TURNS:,} turns")
        if local.turns % _CLOCK_EVERY == 0 and time.thread_time() - local.started > MAX_SECONDS:
            raise TemplateLimitError(f"it takes more than {MAX_SECONDS:g} seconds")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Checks the widths of a format, and wraps `format` as the sandbox does."""
        if getattr(value, "__name__", "") in ("format", "format_map") and isinstance(
            getattr(value, "__self__", None), str
        ):
            _check_format(value.__self__)
        return super().wrap_str_format(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Checks an operation that could make something huge, and does it."""
        _check_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  As in Jinja.
        """Calls what a template calls, unless its arguments or its result are too large."""
        _check_call(__obj, args, kwargs)
        return check_length(super().call(__context, __obj, *args, **kwargs))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Bounds().visit(tree)
        tree.set_environment(self)
        return tree


def make_marks() -> tuple[str, str]:
    """Returns two texts that no record can hold, for the ends of `{% generation %}` blocks."""
    key = secrets.token_hex(8)
    return f"\ue000{key}\ue001", f"\ue002{key}\ue003"


def check_length(value: Any) -> Any:
    """Returns a value unless it is a text that is too long."""
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")
    return value


class _Bounds(NodeTransformer):
    """Adds a tick to each loop and macro, and a check of its length to each text that is put together."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        return self._add_tick(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._add_tick(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return nodes.Filter(node, "__bounded", [], [], None, None).set_lineno(node.lineno)

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        bounded = nodes.Filter(node.filter, "__bounded", [], [], None, None)
        bounded.set_lineno(node.lineno)
        node.filter = bounded
        return node

    def _add_tick(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        tick = nodes.Filter(nodes.Const(None), "__tick", [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(tick).set_lineno(node.lineno))
        return node


def _check_operation(operator: str, left: Any, right: Any) -> None:
    if operator == "*":
        for text, count in ((left, right), (right, left)):
            if isinstance(text, str | list | tuple) and isinstance(count, int) and len(text) * count > MAX_CHARACTERS:
                raise TemplateLimitError(f"it repeats something {count:,} times")
    are_both = isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple)
    if operator == "+" and are_both and len(left) + len(right) > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")
    if operator == "%" and isinstance(left, str):
        _check_format(left)
    if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > _MAX_BITS:
            raise TemplateLimitError(f"it computes a number of more than {_MAX_BITS:,} bits")


def _check_call(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, int) and abs(value) > MAX_CHARACTERS:
            raise TemplateLimitError(f"it calls something with the number {value:,}")
    text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if not isinstance(text, str):
        return
    if name == "format":
        _check_format(text)
    if name == "replace" and len(args) >= 2:
        _check_replacement(text, args[0], args[1])
    if name == "join" and args and isinstance(args[0], Sequence):
        _check_join(text, args[0])
    if name == "expandtabs" and args and isinstance(args[0], int):
        _check_replacement(text, "\t", " " * args[0])


def _bounded_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a filter of Jinja that refuses to make a text that is too long."""
    takes_environment = hasattr(function, "jinja_pass_arg")

    def check(*args: Any, **kwargs: Any) -> Any:
        value, *rest = args[1:] if takes_environment else args
        _check_call(getattr(value, function.__name__.removeprefix("do_"), None), rest, kwargs)
        if function.__name__.endswith("join") and isinstance(value, Sequence):
            _check_join(str(rest[0]) if rest else "", value)
        return check_length(function(*args, **kwargs))

    if takes_environment:
        check.jinja_pass_arg = function.jinja_pass_arg  # type: ignore[attr-defined]
    if hasattr(function, "jinja_async_variant"):
        check.jinja_async_variant = function.jinja_async_variant  # type: ignore[attr-defined]
    return check


def _check_format(text: str) -> None:
    if _WIDE_FORMAT.search(text):
        raise TemplateLimitError("a format has a width of six digits or more")


def _check_replacement(text: str, old: Any, new: Any) -> None:
    if not (isinstance(old, str) and isinstance(new, str)):
        return
    count = text.count(old) if old else len(text) + 1
    if len(text) + count * (len(new) - len(old)) > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")


def _check_join(separator: str, parts: Sequence[Any]) -> None:
    length = len(separator) * len(parts) + sum(len(part) for part in parts if isinstance(part, str))
    if length > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own filter escapes characters of HTML and sorts keys; templates of models expect plain JSON."""
    if isinstance(indent, int) and indent > 100:
        raise TemplateLimitError(f"it indents by {indent:,}")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _TemplateDict:
    """`dict` as templates know it, without the class itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _TemplateNamespace(Namespace):
    """`namespace`, whose names must not begin with an underscore, as transformers asks."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # `namespace(self=...)` is allowed
        self, *rest = args
        values = dict(*rest, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a name in a namespace must not begin with an underscore: {name!r}")
