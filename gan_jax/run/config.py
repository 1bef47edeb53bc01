"""The numbers of a Config: their types say what they may be.

    steps: Count = 10_000

is checked from the command line, from a notebook and from a config.json alike. A plain `int` or `float` may be 0 or
more.
"""

import sys
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from gan_jax.errors import UserError, printable


class Between(NamedTuple):
    """The numbers from `least` to `most`."""

    least: float = 0
    most: float = 2**31 - 1


Count = Annotated[int, Between(1)]  # at least one: steps, rows, units
Every = Annotated[int, Between(-1)]  # so many steps; -1: as many as are usual
Depth = Annotated[int, Between(0, 1000)]  # layers or blocks, each of which is traced
Decay = Annotated[float, Between(0, 1)]  # of a moment or an average
Share = Annotated[float, Between(0, 1)]  # a part of a whole


def check_ranges(values: dict, Config: Any, file: Path | None = None) -> None:
    """Raise UserError where a number, alone or in a tuple, is not what the types of Config, a dataclass or such, say.

    A tuple of numbers has one at least. file: where they stood; without one names are said as flags.
    """
    hints = typing.get_type_hints(Config, include_extras=True)
    called = lambda name: f"{printable(file)}: {name}" if file else f"--{name.replace('_', '-')}"
    for name, hint in hints.items():
        if values.get(name) == () and typing.get_origin(hint) is tuple and typing.get_args(hint)[0] is not str:
            raise UserError(f"{called(name)} has no numbers; it must have one, or more.")
    for name, value in [(field, one) for field in hints for one in _each(values.get(field))]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        of = typing.get_args(hints[name])[0] if typing.get_origin(hints[name]) is tuple else hints[name]
        least, most = next((m for m in getattr(of, "__metadata__", ()) if isinstance(m, Between)), Between())
        if not least <= value <= most:
            to = "or more, under 2^31" if most == Between().most else f"to {most}"
            raise UserError(f"{called(name)} is {value}; it must be a number, {least} {to}.")


def _each(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def known(values: dict, Config: type, file: Path) -> dict:
    """Return the fields of a saved Config that Config, a dataclass, has; file: where they stood.

    A module whose Config has lost fields says in RETIRED = {name: value} with which values a run of before is still one
    of its own. Raises UserError where a field that Config lacks is not there, or has another value.
    """
    fields, retired = typing.get_type_hints(Config), getattr(sys.modules.get(Config.__module__), "RETIRED", {})
    for name, value in values.items():
        if name not in fields and (name not in retired or retired[name] != value):
            raise UserError(
                f"{printable(file)}: {name} is {value!r}, and the experiment has no {name} any more; its docstring may "
                "say where that is now."
            )
    return {name: value for name, value in values.items() if name in fields}


def check_types(values: dict, types: type | dict, file: Path | None = None) -> None:
    """Raise UserError where a value is not of its type; types: a dataclass, or {name: type}; file: where they stood."""
    types = types if isinstance(types, dict) else typing.get_type_hints(types)
    where = f"{printable(file)}: " if file else ""
    for name, value in values.items():
        of = types.get(name)
        if typing.get_origin(of) is Literal and value not in typing.get_args(of):
            raise UserError(f"{where}{name} is {value!r}, not one of {', '.join(map(repr, typing.get_args(of)))}.")
        if isinstance(of, type) and not _is(value, of):
            raise UserError(f"{where}{name} is {value!r}, where there should be a value of type {of.__name__}.")
        parts = typing.get_args(of) if typing.get_origin(of) is tuple else ()
        parts = parts[:1] * len(value) if ... in parts and type(value) is tuple else parts
        if parts and (type(value) is not tuple or len(value) != len(parts) or not all(map(_is, value, parts))):
            words = ", ".join("..." if part is ... else part.__name__ for part in parts)
            raise UserError(f"{where}{name} is {value!r}, where there should be values of the types {words}.")


def _is(value, of) -> bool:
    """Return whether a value is of a type; a number may be written without a point."""
    return type(value) is of or (of is float and type(value) is int)
