"""The answers to a fixed set of command lines, which every later state of the code must give too.

Command lines are in `cases.toml`, what they read in `inputs`, the answers in `answers`, one file for each case. They
hold what the law gave when its constants were fitted. They are changed only on purpose, with the reason in the commit,
and then written anew by

    ADAMW_SCALE_WRITE_ANSWERS=1 python -m pytest tests/release

Compared are exit status and JSON document: the same keys, the same structure, the same texts, and numbers to a
relative 1e-9, or 1e-6 where something was fitted. Of a refusal, compared is that it is one, not how it is worded.
"""

import json
import math
import os
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

HERE = Path(__file__).parent
ANSWERS = HERE / "answers"
WRITE = "ADAMW_SCALE_WRITE_ANSWERS" in os.environ
EXACT, FITTED = 1e-9, 1e-6
NEGLIGIBLE = 1e-15  # a number that is zero but for rounding
REFUSED = 2
OF_THE_VERSION = "driver.version"
OF_THE_MACHINE = "task.data_sha256"  # where probes read the sources of Python's library, for want of --data
ABSENT = object()

Answer = dict[str, Any]


TABLES = tomllib.loads((HERE / "cases.toml").read_text(encoding="utf-8"))
SHORTHANDS: dict[str, str] = TABLES.pop("shorthands")
CASES: dict[str, list[str]] = {  # command lines by the name of their file in `answers`
    f"{table}/{name}": [lines] if isinstance(lines, str) else lines
    for table, named in TABLES.items()
    for name, lines in named.items()
}


@pytest.fixture(autouse=True)
def _where_cases_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the tests, so that no document holds a path of the machine; `python` is this one."""
    monkeypatch.chdir(HERE.parent)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def answer(adamw_scale: Command, line: str, out: str) -> Answer:
    """What a command line answers, as far as it is the same everywhere and every time."""
    arguments = shlex.split(_written_out(line, SHORTHANDS))
    outcome = adamw_scale(*(_written_out(argument, {"out": out}) for argument in arguments))
    said: Answer = {"command": line, "status": outcome.code}
    if outcome.code == REFUSED:
        return said | {"stdout": outcome.out, "lines of stderr": outcome.err.count("\n")}
    dropped = (OF_THE_VERSION,) if "--data" in line else (OF_THE_VERSION, OF_THE_MACHINE)
    return said | {"document": portable(json.loads(outcome.out), dropped, out)}


def _written_out(text: str, shorthands: dict[str, str]) -> str:
    for short, meaning in shorthands.items():
        text = text.replace(f"{{{short}}}", meaning)
    return text


def portable(value: Any, dropped: tuple[str, ...], out: str, path: str = "") -> Any:
    """A document without what the version or the machine decides: some keys, and in texts where folders are."""
    if isinstance(value, dict):
        inside = {key: f"{path}.{key}" for key in value}
        return {
            key: portable(each, dropped, out, inside[key])
            for key, each in value.items()
            if not inside[key].endswith(tuple(f".{name}" for name in dropped))
        }
    if isinstance(value, list):
        return [portable(each, dropped, out, path) for each in value]
    if isinstance(value, str):
        return value.replace(out, "{out}").replace(f"{SHORTHANDS['configs']}/", "{configs}/")
    return value


def differences(was: Any, now: Any, rel: float, path: str = "") -> Iterator[str]:
    """Every place at which two documents differ, with what stands there in each."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            yield from differences(was.get(key, ABSENT), now.get(key, ABSENT), rel, f"{path}.{key}" if path else key)
    elif isinstance(was, list) and isinstance(now, list):
        if len(was) != len(now):
            yield f"{path} had {len(was)} elements, has {len(now)}"
        for number, (one, other) in enumerate(zip(was, now, strict=False)):
            yield from differences(one, other, rel, f"{path}[{number}]")
    elif _is_number(was) and _is_number(now):
        if not math.isclose(was, now, rel_tol=rel, abs_tol=NEGLIGIBLE):
            yield f"{path} was {was!r}, is {now!r}"
    elif type(was) is not type(now) or was != now:
        yield f"{path} was {_shown(was)}, is {_shown(now)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return "absent" if value is ABSENT else repr(value)


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_what_it_was(adamw_scale: Command, tmp_path: Path, case: str) -> None:
    """The same command line gives the same exit status and the same document."""
    now = [answer(adamw_scale, line, str(tmp_path / "out")) for line in CASES[case]]
    file = ANSWERS / f"{case}.json"
    if WRITE:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(now, indent=1, sort_keys=True, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")
    was = json.loads(file.read_text(encoding="utf-8"))
    fitted = any("calibrat" in line for line in CASES[case])
    found = list(differences(was, now, FITTED if fitted else EXACT))
    assert not found, f"{case} answers otherwise than before:\n" + "\n".join(found[:20])


def test_there_is_an_answer_for_every_case() -> None:
    """And a case for every answer."""
    assert {path.relative_to(ANSWERS).with_suffix("").as_posix() for path in ANSWERS.rglob("*.json")} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_only_what_cannot_be_answered_is_refused(case: str) -> None:
    """A refusal is one line with exit status 2 and nothing on stdout; everything else is a document."""
    last = json.loads((ANSWERS / f"{case}.json").read_text(encoding="utf-8"))[-1]
    if case.startswith("refused/"):
        assert (last["status"], last["stdout"], last["lines of stderr"]) == (REFUSED, "", 1)
    else:
        assert last["status"] in (0, 1)
        assert last["document"]


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ({"a": [1.0, {"b": 2.0}]}, {"a": [1.0, {"b": 2.0 + 1e-8}]}, "a[1].b was 2.0, is 2.00000001"),
        ({"a": 1.0}, {}, "a was 1.0, is absent"),
        ({}, {"a": None}, "a was absent, is None"),
        ({"a": [1, 2]}, {"a": [1]}, "a had 2 elements, has 1"),
        ({"a": "x"}, {"a": "y"}, "a was 'x', is 'y'"),
        ({"a": True}, {"a": 1}, "a was True, is 1"),
        ({"a": 0.0}, {"a": 1e-9}, "a was 0.0, is 1e-09"),
        ({"a": [1, 0.0, None, "x"]}, {"a": [1.0 + 1e-12, 1e-30, None, "x"]}, None),
    ],
    ids=str,
)
def test_a_difference_is_named_by_its_place(was: Any, now: Any, says: str | None) -> None:
    """Where two documents differ, and in what; numbers that round differently do not."""
    assert list(differences(was, now, EXACT)) == ([] if says is None else [says])
