"""Whatever stands in a config, a reader finds a config or refuses it in one line.

More examples than CI has time for: ADAMW_SCALE_EXAMPLES=5000 python -m pytest tests/auditing/test_any_value.py
"""

import inspect
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_real_configs import CASES, CONFIGS
from walking import RUNS, SUFFIX, advice

from adamw_scale import audit
from adamw_scale.errors import AdamWScaleError, SpecError
from adamw_scale.formats import parse
from adamw_scale.formats.document import Call, Document, Unread
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.reading import Keys

READERS = [name for name, part in FRAMEWORKS.items() if part.reads and part.emits]
EXAMPLES = int(os.environ.get("ADAMW_SCALE_EXAMPLES", "60"))
patient = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))

SCALAR = re.compile(r""""[^"\n]*"|'[^'\n]*'|[-+]?[\w.$]+""")
OTHERS = (
    *(
        "null",
        "None",
        "true",
        "false",
        "",
        '""',
        "'word'",
        "é",
        "٣",
        "x" * 300,
        "auto",
        "VARIABLE",
        "-VARIABLE",
        "$VARIABLE",
    ),
    *(
        "${a.b}",
        "f(x)",
        "1e-3 * LR",
        "[]",
        "[1, 2]",
        "[null]",
        "[VARIABLE]",
        "[[1], {}]",
        "{}",
        '{"a": [1]}',
        "(1, 2, 3)",
    ),
    *(
        "0",
        "-1",
        "1",
        "2",
        "0.5",
        "1_000",
        "0x10",
        "10%",
        "nan",
        "-inf",
        "5e-324",
        "1e-320",
        "1e-200",
        "1e300",
        "1e999",
    ),
    *("9" * 40, "0ep", "1ba", "0.1dur", "1e9tok", "1,2,3"),
)
SAID: tuple[dict[str, Any], ...] = (
    {},
    {"tokens": "26B", "params": "1.3B", "devices": 8, "sequence_length": 2048, "batch_size": "0.5M"},
    {"samples": "1.28M", "devices": 8, "epochs": 90},
    {"tokens": "20M", "task": "finetuning", "lr": "2e-5", "schedule": "cosine", "devices": 2},
    {"weight_decay": 0.1, "steps": 1000, "samples": "1M"},
)


class Source(NamedTuple):
    """A sound config, without its comments."""

    text: str
    suffix: str


@cache
def sources(framework: str) -> list[Source]:
    """Public configs of a framework, and its own snippets."""
    public = [
        ((CONFIGS / name).read_text(), Path(name).suffix) for name, case in CASES.items() if case.framework == framework
    ]
    own = [emit(framework, advice(run)) for run in RUNS]
    texts = [*public, *((snippet.text, SUFFIX[snippet.language]) for snippet in own)]
    return [Source(re.sub(r"(?m)^\s*#.*\n", "", text), suffix) for text, suffix in texts]


@st.composite
def changed(draw: Callable[..., Any], text: str) -> str:
    """A text in which one scalar is something else or has another name, or one line is gone or there twice."""
    start, end = draw(st.sampled_from([spot.span() for spot in SCALAR.finditer(text)]))
    first, last = text.rfind("\n", 0, start) + 1, (text.find("\n", end) + 1) or len(text)
    how = draw(st.sampled_from(["other", "other", "other", "renamed", "gone", "twice"]))
    if how == "gone":
        return text[:first] + text[last:]
    if how == "twice":
        return text[:last] + text[first:]
    return (
        text[:start] + (f"other_{text[start:end]}" if how == "renamed" else draw(st.sampled_from(OTHERS))) + text[end:]
    )


def assert_read_or_refused(read: Callable[[], object]) -> None:
    """Nothing but an error of this package comes out, and that in one line; anything else fails the test."""
    message = ""
    try:
        read()
    except AdamWScaleError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("framework", READERS)
@patient
@given(data=st.data())
def test_one_changed_value_is_read_or_refused(framework: str, data: st.DataObject) -> None:
    """By the reader, and by the whole audit, whatever its user adds."""
    source = data.draw(st.sampled_from(sources(framework)))
    text, said = data.draw(changed(source.text)), data.draw(st.sampled_from(SAID))
    part = FRAMEWORKS[framework]
    assert_read_or_refused(lambda: part().read(parse(text, source.suffix, part.formats)))
    assert_read_or_refused(lambda: audit(text, framework, suffix=source.suffix, **said))


@cache
def keys_of(framework: str) -> list[str]:
    """What a reader looks for in sound configs."""
    asked: set[str] = set()

    def raw(keys: Keys, *paths: str) -> Any:
        asked.update(paths)
        return looked_up(keys, *paths)

    looked_up = Keys.raw
    with patch.object(Keys, "raw", raw):
        for source in sources(framework):
            with suppress(SpecError):  # several optimizers, one for each group
                FRAMEWORKS[framework]().read(parse(source.text, source.suffix))
    return sorted(asked)


@cache
def words_of(framework: str) -> list[str]:
    """Words in the source of a reader: names of classes, schedules and optimizers."""
    modules = {part.__module__ for part in FRAMEWORKS[framework].__mro__[:2]}
    return sorted({word for name in modules for word in re.findall(r'"(\w+)"', inspect.getsource(sys.modules[name]))})


NUMBERS = st.sampled_from(
    ["0", "0.05", "0.1", "0.9", "1", "2", "10", "40", "100", "1000", "-1", "-5", "1e-30", "1e18", "1e30"]
)


@pytest.mark.parametrize("framework", READERS)
@patient
@given(data=st.data())
def test_any_values_together_are_read_or_refused(framework: str, data: st.DataObject) -> None:
    """Values that are possible each for itself, in any combination, as code or as data."""
    words = st.sampled_from(words_of(framework))
    values = (
        NUMBERS | NUMBERS.map(float) | words | st.sampled_from([True, None, Unread("LR"), [], ["1", "2"], {"a": "1"}])
    )
    content = data.draw(st.dictionaries(st.sampled_from(keys_of(framework)), NUMBERS | words | values, max_size=20))
    short = {key.rpartition(".")[2]: each for key, each in content.items()}
    calls = tuple(Call(name, short) for name in data.draw(st.lists(words, max_size=3)))
    form = data.draw(st.sampled_from(sorted(FRAMEWORKS[framework].formats)))
    document = Document(form, content, calls if form == "Python" else ())
    assert_read_or_refused(lambda: FRAMEWORKS[framework]().read(document))
