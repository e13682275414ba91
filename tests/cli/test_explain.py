"""adamw-scale explain: a page for everything that can be printed, and none for what cannot."""

import ast
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from conftest import Command

import adamw_scale as package
from adamw_scale.advisor import cautions
from adamw_scale.cli import main as cli
from adamw_scale.explain import Page, pages, pages_on, schemas
from adamw_scale.explain.topics import KINDS
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.integrations import advised, checks
from adamw_scale.law import fitted
from adamw_scale.rules import RULES, default_rule
from adamw_scale.spec.advice import UNUSABLE
from adamw_scale.spec.measurement import Optimum
from adamw_scale.spec.run import TASKS, TrainingRun
from adamw_scale.theory import conventions, measured_decay
from adamw_scale.theory.conventions import CONVENTIONS
from adamw_scale.theory.lr_laws import LAWS
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.theory.schedules import SCHEDULES, Schedule
from adamw_scale.theory.weight_decay_schedules import SHAPES

PACKAGE = Path(package.__file__).parent
REGISTRIES = {
    "rule": RULES,
    "convention": CONVENTIONS,
    "parametrization": PARAMETRIZATIONS,
    "schedule": SCHEDULES,
    "weight-decay-schedule": SHAPES,
    "lr-law": LAWS,
    "framework": FRAMEWORKS,
}
# Codes that are computed: the expression in the source, and what it can be.
COMPUTED = {
    "CONVENTIONS[name].kind": {name for name, kind in conventions.KINDS.items() if kind.caution},
    "f'base-{what}'": {"base-width", "base-depth"},
}
PAGES = pages()
UNLESS = "unless another is asked for."
SOURCE = re.compile(
    r"arXiv:\d{4}\.\d{4,5}|\bcode\b|^none: |this project|practice|public (recipes|configs)|the source of the rule"
    r"|secondary sources"
)


def of_kind(kind: str) -> dict[str, Page]:
    """The pages of a kind by topic."""
    return {page.topic: page for page in PAGES if page.kind == kind}


def name_of(page: Page) -> str:
    """A page as a test's name."""
    return f"{page.kind}:{page.topic}"


def takers() -> dict[str, tuple[str, int]]:
    """Functions that are handed a code, from their signatures: the kind of its page, and at which place they take it.

    What makes a noun takes it by name; methods are called without their self. A private function is its file's own. One
    that makes cautions of a code makes those of `plausibility`, which audit makes findings of.
    """
    found = {"Caution": ("caution", 0), "SharedCaution": ("caution", 0), "Finding": ("finding", 0)}
    found["Trap"] = ("finding", 1)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                named = [(each.arg, ast.unparse(each.annotation or ast.Constant(None))) for each in node.args.args]
                if ("code", "str") in named:
                    own = named[0][0] == "self"
                    kind = "input" if ast.unparse(node.returns or ast.Constant(None)) == "Caution" else "finding"
                    found[known_as(node.name, path)] = (kind, named.index(("code", "str")) - own)
    return found


def known_as(name: str, path: Path) -> str:
    """A function's name, with its file's where it is private."""
    return f"{path}:{name}" if name.startswith("_") else name


@cache
def codes() -> tuple[tuple[str, str, str], ...]:
    """Every code that the source can print: the kind of what carries it, the code, and where it stands."""
    return tuple(_codes(takers()))


def _codes(known: dict[str, tuple[str, int]]) -> Iterator[tuple[str, str, str]]:
    assert {"finding", "error", "warning", "note"} < known.keys()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func).startswith(("logger.", "warnings.")):
                continue
            for name in {known_as(each, path) for each in called(node.func)} & known.keys():
                kind, place = known[name]
                given = [each.value for each in node.keywords if each.arg == "code"] or node.args[place : place + 1]
                for code in given:
                    for value in values(code, path):
                        yield kind, value, f"{path.relative_to(PACKAGE)}:{node.lineno}"


def called(function: ast.expr) -> set[str]:
    """The names of what a call calls: one, or either of two."""
    if isinstance(function, ast.IfExp):
        return called(function.body) | called(function.orelse)
    return {ast.unparse(function).rpartition(".")[2]}


def values(code: ast.expr, path: Path) -> set[str]:
    """What an expression for a code can be; one that is handed on is found where it is written."""
    if isinstance(code, ast.Constant):
        return {str(code.value)}
    if isinstance(code, ast.IfExp):
        return values(code.body, path) | values(code.orelse, path)
    if isinstance(code, ast.Name) and code.id == "code":
        return {value for each in assigned(code.id, path) for value in values(each, path)}
    if ast.unparse(code) in ("caution.code", "trap.code"):
        return set()
    if isinstance(code, ast.Name):
        module = import_module("adamw_scale." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts))
        return {getattr(module, code.id)}
    return COMPUTED[ast.unparse(code)]


def assigned(name: str, path: Path) -> Iterator[ast.expr]:
    """What a name is given, one of several, of one of two; nothing where it is a parameter."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names = [ast.unparse(each) for each in target.elts] if isinstance(target, ast.Tuple) else []
                if name in names:
                    either = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
                    for each in either:
                        assert isinstance(each, ast.Tuple), ast.unparse(node)
                        yield each.elts[names.index(name)]
                assert ast.unparse(target) != name, "read it as well"


@pytest.mark.parametrize("kind", ["caution", "finding", "input"])
def test_every_code_has_a_page_and_every_page_a_code(kind: str) -> None:
    """What can be printed is read off the source, wherever a caution or a finding is made."""
    found = {code: place for carried, code, place in codes() if carried == kind}
    assert len(found) > {"caution": 50, "finding": 50, "input": 15}[kind]
    without = {code: place for code, place in found.items() if code not in of_kind(kind)}
    assert not without, f"write a page for each in adamw_scale/explain/{kind}s.toml"
    assert not of_kind(kind).keys() - found.keys()


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_part_has_a_page(kind: str) -> None:
    """And no page is of a part that is not there."""
    assert set(of_kind(kind)) == set(REGISTRIES[kind])


def test_every_status_has_a_page() -> None:
    """Those that a calibrated optimum can have."""
    assert set(of_kind("status")) == set(get_args(Optimum.model_fields["status"].annotation))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_is_complete(page: Page, adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 to 30 lines of 80 columns (tables more), with a source or that there is none, and topics that exist."""
    monkeypatch.setenv("COLUMNS", "80")
    outcome = adamw_scale("explain", name_of(page))
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f"{page.topic} ({page.kind}): ")
    assert all(len(line) <= 80 for line in lines), [line for line in lines if len(line) > 80]
    assert 8 <= len(lines) <= {"law": 50, "schema": 50, "object": 80}.get(page.kind, 30)
    assert SOURCE.search(page.source), page.source
    assert page.do.endswith(".")
    assert "{" not in outcome.out
    for topic in page.see:
        assert [each for each in pages_on(topic) if each != page], topic


@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_shows_its_formula_and_source(name: str, adamw_scale: Command) -> None:
    """As the registry has them."""
    shown = " ".join(adamw_scale("explain", f"rule:{name}").out.split())
    for said in (RULES[name].formula, RULES[name].certainty, RULES[name].fitted_on):
        assert " ".join(said.split()) in shown
    assert of_kind("rule")[name].source


@pytest.mark.parametrize("task", TASKS)
def test_the_rule_that_is_taken_says_so(task: str) -> None:
    """From scratch the law, else what keeps the decay there is; no other."""
    run = TrainingRun(dataset_size="2.6B", batch_size="131k", num_params="130M", peak_lr=1e-5, task=task)
    words = "for every training from scratch" if task == "pretraining" else "where weights were trained before"
    assert of_kind("rule")[default_rule(run)].do == f"recommend takes it {words} {UNLESS}"
    assert sum(UNLESS in page.do for page in of_kind("rule").values()) == 2


def test_the_laws_numbers_are_the_fitted_ones(adamw_scale: Command) -> None:
    """Formula, terms with their errors, points by source, and sources that were left out."""
    page = of_kind("rule")["law"]
    numbers = [float(number) for number in re.findall(r"[+-]\d+\.\d+", page.formula or "")]
    assert numbers == [round(mean, 2) for mean in fitted.MEAN]
    terms = [re.findall(r"[+-]?\d+\.\d+", row[1]) for row in of_kind("law")["features"].table[1:]]
    deviations = [math.sqrt(row[i]) for i, row in enumerate(fitted.COVARIANCE)]
    assert [float(mean) for mean, _ in terms] == pytest.approx(fitted.MEAN, abs=0.0051)
    assert [float(deviation) for _, deviation in terms] == pytest.approx(deviations, abs=0.0051)
    counted = of_kind("law")["evidence"].table[1:]
    assert sum(int(row[0]) for row in counted) == len(fitted.EVIDENCE)
    assert [row[2] for row in of_kind("law")["left-out"].table[1:]] == [source for source, *_ in fitted.LEFT_OUT]
    out = adamw_scale("explain", "law").out
    assert all(f"({kind})" in out for kind in ("rule", "law"))


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in ("step", "table")])
def test_a_schedules_formula_is_its_shape(name: str) -> None:
    """Worked out at every point of the fall, after the warm-up."""
    kind = SCHEDULES[name]
    options = {"warmup_fraction": 0.1, "final_lr_fraction": 0.2, "cycles": 1.0}
    shape = Schedule(name, **{option: value for option, value in options.items() if option in kind.takes})
    formula = re.sub(r"^(1, then|in each cycle,) ", "", kind.formula).replace("^", "**")
    (start, width), end = [(piece.start, piece.width) for piece in shape.pieces][-1], 1.0
    for number in range(1, 20):
        u = number / 20
        progress = start + u * width
        known = {"u": u, "f": shape.floor, "p": progress, "w": 0.1, "power": 2.0, "pi": math.pi}
        value = eval(formula, {"cos": math.cos, "sqrt": math.sqrt, **known})
        assert shape.multiplier(progress) == pytest.approx(value), progress
    assert start + width == pytest.approx(end)


def test_a_topic_may_be_spelled_in_any_way(adamw_scale: Command) -> None:
    """Case, spaces and underscores; other names; a kind before a colon; all pages where kinds share a name."""
    assert adamw_scale("explain", "Decay Mass").out == adamw_scale("explain", "decay_mass").out
    assert adamw_scale("explain", "λ").out == adamw_scale("explain", "lambda").out
    assert {page.kind for page in pages_on("adana")} == {"rule"}
    assert {page.kind for page in pages_on("pytorch")} == {"convention", "framework"}
    assert [page.kind for page in pages_on("Framework:PyTorch")] == ["framework"]


def test_no_two_pages_are_one_topic() -> None:
    """Within a kind, a name is one page's; sorted where they are written."""
    for kind in KINDS:
        names = [topic for page in PAGES if page.kind == kind for topic in (page.topic, *page.also)]
        assert len(names) == len(set(names)) or kind == "law"  # its pages are read together
    for kind in ("caution", "finding", "input", "term", "schema", "object"):
        assert all(one < other for one, other in pairwise(of_kind(kind)))


def test_an_unknown_topic_names_the_nearest(adamw_scale: Command) -> None:
    """Exit status 2, one line, and where the list is."""
    outcome = adamw_scale("explain", "inrt")
    assert outcome.code == 2
    assert outcome.out == ""
    assert "unknown topic 'inrt': did you mean 'inert'" in outcome.err
    assert outcome.err.rstrip().endswith("adamw-scale explain lists them all")
    assert adamw_scale("explain", "rule:composer").code == 2
    assert adamw_scale("explain", "").code == 2
    assert "drop it, or TOPIC" in adamw_scale("explain", "inert", "--all").err


def test_all_topics_are_listed_in_a_line_each(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under their kind; --all has every page, and --json the same as a document."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = adamw_scale("explain").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [page.topic for page in PAGES]
    assert [line for line in lines if line and not line.startswith(" ")] == list(KINDS)
    everything = adamw_scale("explain", "--all").out
    assert all(f"{page.topic} ({page.kind}): " in everything for page in PAGES)
    document = json.loads(adamw_scale("explain", "--json").out)
    assert document["schema"] == "adamw-scale/explanation/1"
    assert [page["topic"] for page in document["pages"]] == [page.topic for page in PAGES]
    (one,) = json.loads(adamw_scale("explain", "finding:l2", "--json").out)["pages"]
    assert one["source"].endswith("arXiv:1711.05101")


def test_the_monitors_thresholds_are_those_it_has() -> None:
    """Its module needs torch, so its pages hold the numbers themselves."""
    said = {topic: page.facts.get("said when", "") for topic, page in of_kind("caution").items()}
    assert f"by more than {100 * measured_decay.NOTABLE:g} %" in said["convention"]
    assert f"between {measured_decay.TWICE[0]:g} and {measured_decay.TWICE[1]:g}" in said["doubled"]
    assert f"by more than {100 * checks.ROUNDED:g} %" in said["not-planned"]
    assert f"by more than {100 * checks.ROUNDED:g} %" in said["overwritten"]
    assert f"by more than {100 * advised.OFF_SCHEDULE:g} % of its peak" in said["overwritten"]


def test_the_factor_of_a_hundred_is_that_of_the_advice() -> None:
    """The page gives it as octaves, and says in words what they are."""
    assert pytest.approx(100) == 2**cautions.TOO_WIDE
    assert (
        f"wider than {cautions.TOO_WIDE:.1f} octaves, a factor of 100"
        in of_kind("caution")["too-wide"].facts["said when"]
    )
    assert set(UNUSABLE) <= set(of_kind("caution")["too-wide"].see) | set(of_kind("term")["not-usable"].see)


def test_other_commands_do_not_load_the_pages() -> None:
    """Start-up is theirs."""
    code = "import sys; from adamw_scale.cli import recommend, audit; print([m for m in sys.modules if 'explain' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


PRINTED = "--params 130M --tokens 2.6B --batch-size 131k"
UNDER_MUP = f"{PRINTED} --lr 1e-2 --parametrization mup --width 1024 --base-width 256"
TUNED = f"{UNDER_MUP} --weight-decay 0.1 --reference {{folder}}/tuned.toml"
OWN = "--samples 50k --batch-size 128 --epochs 4"
# What each command prints; those of one folder in the order in which they fill it.
COMMANDS = {
    "recommend": ("recommendation", f"recommend {PRINTED} --lr 1e-3 --weight-decay 0.1 --json"),
    "another unit": ("recommendation", f"recommend {PRINTED} --lr 1e-3 --convention composer --json"),
    "finetuning": ("recommendation", f"recommend {PRINTED} --lr 1e-5 --task finetuning --json"),
    "tuned": ("recommendation", f"recommend {TUNED} --json"),
    "no rate": ("decay-per-step", f"recommend {PRINTED} --json"),
    "ladder": ("ladder", "ladder --tokens-per-param 20 --params 300M,1B --json"),
    "convert": ("conversion", "convert 0.1 --from pytorch --to composer --lr 1e-3 --json"),
    "timescale": ("timescale", f"timescale {PRINTED} --lr 1e-3 --weight-decay 0.1 --json"),
    "audit": ("audit", "audit {folder}/train.py --framework nanogpt --params 124M --tokens 9B --json"),
    "mend": ("mended", "audit {folder}/train.py --framework nanogpt --params 124M --tokens 9B --diff --json"),
    "watch": ("watched", f"audit --json -- {sys.executable} {{folder}}/watched.py"),
    "emit": ("snippet", f"emit axolotl {PRINTED} --lr 1e-3 --schedule wsd --json"),
    "explain": ("explanation", "explain --json"),
    "plan": ("plan", "calibrate --plan --data {folder}/text.txt --json"),
    "probe plan": ("probe-plan-report", "probe plan --out {folder}/planned --data {folder}/text.txt --json"),
    "probe import": ("probe-import-report", f"probe import {{folder}}/runs.csv --out {{folder}}/own {OWN} --json"),
}


def printed(command: str) -> str:
    """What a command writes to stdout; one that says that its answer is a problem (exit status 1) has answered."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.setattr("sys.argv", ["adamw-scale", *command.split()])
        patch.setattr(cli.app, "registered_commands", [])
        patch.setattr(cli.app, "registered_groups", [])
        with pytest.raises(SystemExit) as ended:
            cli.run()
    assert ended.value.code in (None, 0, 1), command
    return out.getvalue()


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Documents by the name of their schema, from commands and from the files that they write."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "train.py").write_text("learning_rate = 6e-4\nmax_iters = 20000\nbatch_size = 12\nwarmup_iters = 2000\n")
    (folder / "watched.py").write_text(
        "import torch\nweight = torch.nn.Linear(4, 4)\noptimizer = torch.optim.AdamW(weight.parameters())\n"
        "weight(torch.ones(4)).sum().backward()\noptimizer.step()\n"
    )
    (folder / "text.txt").write_text("".join(f"line {number} of a text\n" for number in range(4000)))
    (folder / "tuned.toml").write_text(
        'params = "8M"\ntokens = "160M"\nbatch_size = "65k"\nlr = 1e-2\nweight_decay = 0.2\nwidth = 256\n'
        'base_width = 256\nparametrization = "mup"\n'
    )
    basin = [f"1e-3,{2.0**octave},{2.3 + 0.01 * octave**2}" for octave in range(-4, 5)]
    (folder / "runs.csv").write_text("\n".join(["lr,weight_decay,loss", *basin]) + "\n")
    found: dict[str, list[str]] = {}
    for name, command in [*COMMANDS.values(), ("calibration", "calibrate --fit-only --out {folder}/own --json")]:
        found.setdefault(name, []).append(printed(command.format(folder=folder)))
    found["probe"] = (folder / "own" / "probes.jsonl").read_text().splitlines()
    found["probe-plan"] = [(folder / "planned" / "plan.json").read_text()]
    return found


@pytest.mark.parametrize("name", schemas.documents())
def test_what_is_printed_is_of_its_schema(name: str, documents: dict[str, list[str]]) -> None:
    """By the JSON schema from which the page is made; a document that lacks a field or has another is refused."""
    validator = jsonschema.Draft202012Validator(schemas.schema_of(schemas.documents()[name]))
    for text in documents[name]:
        document = json.loads(text)
        assert f"/{name}/" in document["schema"]
        validator.validate(document)
        assert not validator.is_valid({**document, "no_such_field": 1})
        assert not validator.is_valid({**document, "schema": "adamw-scale/other/1"})


@pytest.mark.parametrize("name", schemas.documents())
def test_a_schemas_page_has_every_field(name: str, documents: dict[str, list[str]]) -> None:
    """Of the document and, on pages of their own, of what is inside of it; those without ? are always there."""
    page = of_kind("schema")[name]
    rows = [row[0] for row in page.table[1:]]
    document = json.loads(documents[name][0])
    assert document["schema"] == page.facts["schema"]
    assert document.keys() <= {row.removesuffix("?") for row in rows}
    assert {row for row in rows if not row.endswith("?")} <= document.keys()
    inside = {each for each, part in schemas.schema_of(schemas.documents()[name]).get("$defs", {}).items()}
    assert {topic for topic in page.see if topic != "json"} <= of_kind("object").keys() | of_kind("schema").keys()
    assert len(inside) >= len(page.see) - 1


def test_every_document_is_explained() -> None:
    """Whatever names itself in the source has a page, or the page of --json says that it is a plain table."""
    (page,) = pages_on("json")
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        names = set(re.findall(r'"adamw-scale/([a-z-]+)/\d"', text))
        names |= {f"probe-{name}-report" for name in re.findall(r'_print_json\("(\w+)"', text)}
        for name in names - of_kind("schema").keys():
            assert f"{name}/1" in " ".join(page.means), f"{path}: {name}"
