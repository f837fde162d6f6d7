"""Jinja for chat templates: sandboxed as in transformers, and bounded, since a template is code of somebody else.

A template can read what it is given and nothing else. It ends with an error, instead of taking all time or memory, when it
loops or makes a text too long.
"""

import datetime
import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import jinja2
from jinja2 import ext, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from components.text.template_limits import (
    ITEM,
    MAX_ALL_CHARACTERS,
    MAX_CHARACTERS,
    MAX_SECONDS,
    MAX_TURNS,
    TemplateLimitError,
    check_call,
    check_filter,
    check_format,
    check_length,
    check_operation,
    check_size,
    collect,
    measure,
)

_CLOCK_EVERY = 256


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
        for name, function in list(self.filters.items()):
            self.filters[name] = self._bound_filter(name, function)
        for name, test in list(self.tests.items()):
            self.tests[name] = self._bound_test(cast(Callable[..., Any], test))
        self.filters["__bounded"] = self._check_made
        self.filters["__concat"] = self._concat
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
        self._local.characters = 0
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
            self._local.marks = self._local.started = None

    @jinja2.pass_context  # so that it is not computed once, while the template is compiled
    def _tick(self, _context: Any, _value: Any) -> None:
        """Counts a turn of a loop or macro."""
        local = self._local
        local.turns += 1
        if local.turns > MAX_TURNS:
            raise TemplateLimitError(f"its loops take more than {MAX_TURNS:,} turns")
        if local.turns % _CLOCK_EVERY == 0:
            self._look_at_clock()

    def _count(self, value: Any, size: int | None = None) -> Any:
        """Returns what an operation, a filter or a call has made, unless all of them together have made too much, or take too long.

        Args:
            value: What was made.
            size: In characters; None: those of a text, and of a list or an object `ITEM` for each of its parts, which it shares.
        """
        check_length(value)
        if size is None:
            is_text = isinstance(value, str | bytes)
            size = len(value) if is_text else ITEM * len(value) if isinstance(value, list | tuple | dict) else 0
        self._local.characters = made = getattr(self._local, "characters", 0) + size
        if made > MAX_ALL_CHARACTERS:
            raise TemplateLimitError(f"its texts have more than {MAX_ALL_CHARACTERS:,} characters together")
        self._look_at_clock()
        return value

    def _look_at_clock(self) -> None:
        started = getattr(self._local, "started", None)
        if started is not None and time.thread_time() - started > MAX_SECONDS:
            raise TemplateLimitError(f"it takes more than {MAX_SECONDS:g} seconds")

    @jinja2.pass_context
    def _check_made(self, _context: Any, value: Any) -> Any:
        """Checks a text, a list or an object that stands in the template, or that a block makes."""
        check_size(value)
        return self._count(value)

    @jinja2.pass_context
    def _concat(self, _context: Any, values: Sequence[Any]) -> str:
        """Does what `~` does."""
        check_size(values)
        return str(self._count("".join(map(str, values))))

    def _bound_filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a filter that refuses to make too much."""
        takes_first = hasattr(function, "jinja_pass_arg")  # a context or the like

        def check(*args: Any, **kwargs: Any) -> Any:
            before, (value, *rest) = args[:takes_first], args[takes_first:]
            if name == "join":
                value = collect(value)
            check_filter(name, value, rest, kwargs)
            made = function(*before, value, *rest, **kwargs)
            if name in ("batch", "slice"):
                return map(self._count, made)
            return self._count(made, measure(made) if name == "groupby" else None)

        return _copy_marks(function, check)

    def _bound_test(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a test that takes its time from that of the template."""

        def check(*args: Any, **kwargs: Any) -> Any:
            self._look_at_clock()
            return function(*args, **kwargs)

        return _copy_marks(function, check)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Checks the widths of a format, and wraps `format` as the sandbox does."""
        if getattr(value, "__name__", "") in ("format", "format_map") and isinstance(
            getattr(value, "__self__", None), str
        ):
            check_format(value.__self__, (), "{")
        return super().wrap_str_format(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Checks an operation that could make something huge, and does it."""
        check_operation(operator, left, right)
        return self._count(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  As in Jinja.
        """Calls what a template calls, unless its arguments or its result are too large."""
        function = getattr(__obj, "__wrapped__", __obj)  # of `format`, which the sandbox wraps
        is_of_text = isinstance(getattr(function, "__self__", None), str | bytes)
        if is_of_text and getattr(function, "__name__", "") == "join":
            args = tuple(map(collect, args))
        check_call(function, args, {name: value for name, value in kwargs.items() if not name.startswith("_")})
        made = super().call(__context, __obj, *args, **kwargs)
        if isinstance(made, list | tuple | dict):
            check_size(made)
        return __self._count(made, measure(made) if is_of_text else None)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Bounds().visit(tree)
        tree.set_environment(self)
        return tree


def make_marks() -> tuple[str, str]:
    """Returns two texts that no record can hold, for the ends of `{% generation %}` blocks."""
    key = secrets.token_hex(8)
    return f"\ue000{key}\ue001", f"\ue002{key}\ue003"


def _copy_marks(function: Any, check: Any) -> Any:
    """Returns `check` with what Jinja knows a filter's or test's arguments by."""
    for mark in ("jinja_pass_arg", "jinja_async_variant"):
        if hasattr(function, mark):
            setattr(check, mark, getattr(function, mark))
    return check


class _Bounds(NodeTransformer):
    """Adds a tick to each loop and macro, and a check of its size to each text, list and object that is put together."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        return self._add_tick(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._add_tick(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        values = nodes.Tuple(node.nodes, "load").set_lineno(node.lineno)
        return nodes.Filter(values, "__concat", [], [], None, None).set_lineno(node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        return self._add_check(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        return self._add_check(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        if node.ctx != "load":  # names that are set
            self.generic_visit(node)
            return node
        return self._add_check(node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):  # a copy
            return self._add_check(node)
        self.generic_visit(node)
        return node

    def _add_check(self, node: Any) -> nodes.Node:
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
