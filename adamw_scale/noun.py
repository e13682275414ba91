"""What every noun is: a frozen value that reads numbers as people write them, refuses plainly, and becomes JSON."""

import math
import re
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import to_json as pydantic_to_json

from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.units import factors_of, parse_quantity


def _number(value: Any) -> Any:
    """Accept "1.3B" wherever a number is expected, and refuse true and false."""
    if isinstance(value, bool | str):
        try:
            return parse_quantity(str(value))
        except SpecError as error:
            raise ValueError(str(error)) from None
    return value


def _count(value: Any) -> Any:
    """The same, but for "50%", which counts nothing."""
    if isinstance(value, str) and value.rstrip().endswith("%"):
        raise ValueError(f"{_shown(value)} is a share, where a number is counted: write for example 1.3B or 0.5")
    return _number(value)


def _units(value: Any) -> Any:
    """Accept "512x1024" too, for a number of units."""
    if not isinstance(value, str):
        return _count(value)
    try:
        factors = factors_of(value)
    except SpecError:
        return _count(value)  # which says what is wrong with it
    return math.prod(factors) if len(factors) > 1 else _count(value)


def _no_percentage(value: float) -> float:
    """Refuse 10 for a fraction, with what may be meant."""
    if 1 < value <= 100:
        raise ValueError(f"{value:g} is more than all of it: write {value:g}% for per cent")
    return value


def _pair(value: Any) -> Any:
    """Accept "0.9,0.95" for a pair, and nothing but pairs."""
    parts = tuple(value.split(",")) if isinstance(value, str) else value
    if not isinstance(parts, tuple | list) or len(parts) != 2:
        raise ValueError(f"{_shown(value)} is not two numbers: write for example 0.9,0.95")
    return parts


def _list(value: Any) -> Any:
    """Accept "0.8,0.9" for a list of numbers."""
    return tuple(value.split(",")) if isinstance(value, str) else value


Number = Annotated[float, BeforeValidator(_number)]
# One validator each: pydantic 2.7 loses them where there are two beside a Field.
Count = Annotated[float, BeforeValidator(_count), Field(gt=0, le=1e18)]
Size = Annotated[float, BeforeValidator(_count), Field(ge=1, le=1e18)]
Units = Annotated[float, BeforeValidator(_units), Field(ge=1, le=1e18)]
Fraction = Annotated[Number, AfterValidator(_no_percentage), Field(ge=0, le=1)]
Fractions = Annotated[tuple[Fraction, ...], BeforeValidator(_list), Field(min_length=1, max_length=1000)]
Share = Annotated[Number, Field(ge=0, le=1)]
Pair = Annotated[tuple[Share, Share], BeforeValidator(_pair)]


class Noun(BaseModel):
    """A frozen value whose construction fails with `SpecError` and nothing else.

    Unknown fields, NaN and infinity are refused. `described_by_flags` says that people write the fields on the command
    line, so that an error names the flag, and the field where the flag does not spell it: "--lr (peak_lr) = 20: ...".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True, defer_build=True)
    described_by_flags: ClassVar[bool] = False

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_plainly(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise _plain(cls, error) from None

    def to_json(self, indent: int | None = None) -> str:
        """The value as a JSON document; what is None is left out."""
        return to_json(self, indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the value from a JSON document; SpecError for anything that is not one."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Invalid JSON: ")
            raise SpecError(f"not valid JSON ({message[:80]})") from None


_UNSHOWN = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def to_json(content: Any, indent: int | None = None) -> str:
    """A noun, or a mapping of nouns and plain values, as JSON: the one way in which documents are written.

    What a terminal would obey is escaped; JSON itself asks that of the characters below U+0020 only.
    """
    text = pydantic_to_json(content, by_alias=True, exclude_none=True, indent=indent).decode()
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def flag(model: type[Noun], name: str) -> str:
    """The command-line flag of a field: `peak_lr` -> "--lr"."""
    extra = model.model_fields[name].json_schema_extra if name in model.model_fields else None
    given = extra.get("flag") if isinstance(extra, dict) else None
    return str(given or "--" + name.replace("_", "-"))


def named(model: type[Noun], *path: str) -> str:
    """What an error calls a field, or an item in one: "--lr (peak_lr)", "--betas (betas.1)", "--batch-size"."""
    field = ".".join(path)
    if not model.described_by_flags:
        return field
    spelling = flag(model, path[0])
    return spelling if spelling == "--" + field.replace("_", "-") else f"{spelling} ({field})"


def _plain(model: type[Noun], error: ValidationError) -> SpecError:
    """The first problem of a pydantic error as one sentence in the words of this package."""
    problems = error.errors(include_url=False)
    lacking = [str(problem["loc"][0]) for problem in problems if problem["type"] == "missing"]
    if len(lacking) == len(problems):
        fix = f": pass {', '.join(flag(model, each) for each in lacking)}" if model.described_by_flags else ""
        return MissingInputError(f"the {model.__name__} lacks {', '.join(lacking)}{fix}")
    problem = next(problem for problem in problems if problem["type"] != "missing")
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return UnknownNameError(f"field of {model.__name__}", path[0], model.model_fields)
    field = named(model, *path) if path else model.__name__
    if problem["type"] == "value_error":  # raised above, in words that hold the value
        return SpecError(f"{field}: {problem['ctx']['error']}")
    return SpecError(f"{field} = {_shown(problem['input'])}: {problem['msg'][0].lower()}{problem['msg'][1:]}")


def _shown(value: Any) -> str:
    """A scalar as it was given, shortened; the kind of anything else, which may be huge."""
    return str(value)[:60] if isinstance(value, str | int | float) else f"a {type(value).__name__}"
