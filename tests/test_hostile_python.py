"""What Python text costs that was written to cost much: work grows with the text, or a line says why it is refused."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import adamw_scale
from adamw_scale.auditing import audit
from adamw_scale.errors import SpecError

HERE = str(Path(adamw_scale.__file__).parent)
MOST_LINES = 2_500_000  # of this package's code that reading 200 KB may run through


def rows(template: str, start: int = 0) -> Callable[[int], str]:
    """Text of n lines, of a template that may say {i}, {j} for the one before and {h} for half of it."""
    return lambda n: "".join(template.format(i=i, j=i - 1, h=i // 2) for i in range(start, n))


def lines_run(text: str) -> int:
    """How many lines of this package an audit runs through."""
    count, before = 0, sys.gettrace()

    def lines(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return lines

    def frames(frame: FrameType, _event: str, _argument: object) -> Any:
        return lines if frame.f_code.co_filename.startswith(HERE) else None

    sys.settrace(frames)
    try:
        with suppress(SpecError):
            audit(text, suffix=".py")
    finally:
        sys.settrace(before)
    return count


GROWING = {
    "names given from one another": lambda n: "a0 = 1\n" + rows("a{i} = a{j} + 1\n", 1)(n),
    "branches": rows("if x{i}:\n a = 1\nelse:\n a = 2\n"),
    "one name in many functions": rows("def f{i}():\n x = 1\n f{j}()\n"),
    "calls of everything": rows("f{i}(a, b=1, c=x.y, d=g())\n"),
    "calls of calls": lambda n: ("x" + ".a(1)" * 80 + "\n") * (n // 60),
    "a large dict": lambda n: "d = {" + ",".join(f"'k{i}': {i}" for i in range(n)) + "}\n",
    "items of a dict": lambda n: GROWING["a large dict"](n) + rows("f(a=d['k{i}'])\n")(n),
    "a function of many parameters": lambda n: (
        f"def f({','.join(f'a{i}=1' for i in range(n))}): pass\nf({','.join(f'a{i}=2' for i in range(n))})\n"
    ),
    "classes that extend each other": lambda n: (
        "class A0(Config):\n x = 1\nclass A1(A0):\n x = 2\n" + rows("class A{i}(A{h}, A{h}, A0):\n x{i} = 1\n", 2)(n)
    ),
    "fields of a class": lambda n: (
        "class A(Config):\n" + rows(" x{i}: int = 1\n")(n) + "c = A()\n" + rows("f(a=c.x{i})\n")(n)
    ),
    "options of a command line": lambda n: (
        "p = ArgumentParser()\n" + rows("p.add_argument('--a{i}', default=1)\n")(n) + "o = p.parse_args()\nf(x=o.a1)\n"
    ),
    "optimizers": lambda n: "from torch.optim import AdamW\n" + rows("AdamW(p, lr={i})\n")(n),
    "arguments": lambda n: "from transformers import TrainingArguments\n" + "TrainingArguments(learning_rate=1)\n" * n,
    "comprehensions": lambda n: ("[" * 20 + "x" + " for x in y]" * 20 + "\n") * (n // 40),
    "what two tuples are given": lambda n: (
        f"({','.join(f'a{i}' for i in range(n))}) = [{'g(1),' * (n // 4)}]\n" + "x = 1\n" * n
    ),
}


@pytest.mark.parametrize("name", GROWING)
def test_twice_the_text_is_twice_the_work(name: str) -> None:
    """No part of the reading takes more than its share where names, calls and classes refer to each other."""
    once, twice = (lines_run(GROWING[name](n)) for n in (400, 800))
    assert twice <= 2.5 * once


BOUNDED = {
    "calls": "f(a, b=1, c=x)\n" * 13_000,
    "numbers": "x = [" + "1," * 90_000 + "]\n",
    "dicts in dicts": ("d = " + "{'a':" * 90 + "1" + "}" * 90 + "\n") * 350,
    "a list of itself": "a = [1, 2]\n" + "a = [a, a]\n" * 50 + "f(x=a)\n",
    "lists of lists": "a0 = [1]\n" + rows("a{i} = [a{j}, a{j}]\n", 1)(60),
    "fields spread": "d = {" + ",".join(f"'k{i}': {i}" for i in range(3000)) + "}\n" + "f(**d)\n" * 4000,
    "classes built": "class A(Config):\n" + rows(" x{i} = 1\n")(3000) + "A(x1=1)\n" * 4000,
    "replacements in a string": "x = f'" + "{a}" * 60_000 + "'\n",
    "targets": "(a, b, c, d) = x\n" * 11_000,
}


@pytest.mark.parametrize("name", BOUNDED)
def test_what_no_script_has_is_refused_in_a_line(name: str) -> None:
    """And not before long: the work is bounded whatever the text is."""
    text = BOUNDED[name]
    assert len(text) <= 200_000
    with pytest.raises(SpecError, match=r"more than [\d,]+ [a-z ]+") as error:
        audit(text, suffix=".py")
    assert "\n" not in str(error.value)
    assert lines_run(text) < MOST_LINES


@pytest.mark.parametrize(
    "text", ["x = '" + "a" * 190_000 + "'\n", "\n" * 190_000 + "x = 1\n", "x = '" + "1" * 190_000 + "a'\n"]
)
def test_words_that_are_looked_for_take_no_time_of_their_own(text: str) -> None:
    """Patterns that start anew at each character of a long word took minutes."""
    start = time.process_time()
    with pytest.raises(SpecError):
        audit(text, suffix=".py")
    assert time.process_time() - start < 5
