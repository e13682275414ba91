"""adamw-scale ladder: lists and files become rungs; a table, CSV, JSON, configs and a picture come of them."""

import csv
import io
import json
from pathlib import Path

import pytest
from conftest import Command

from adamw_scale import Ladder, Recommendation, emit
from adamw_scale.frameworks import FRAMEWORKS

SIZES = {"100M": 768, "300M": 1024, "1B": 2048, "3B": 3072}
MUP = ["--parametrization", "mup", "--base-width", "256"]
LADDER = [
    *("ladder", "--params", ",".join(SIZES), "--width", ",".join(map(str, SIZES.values()))),
    *("--tokens-per-param", "20", "--batch-size", "0.5M", "--lr", "3e-3", *MUP),
]
FILE = """
tokens_per_param = 20
parametrization = "mup"
base_width = 256
batch_size = "0.5M"
lr = 3e-3
""" + "".join(f'[[run]]\nparams = "{params}"\nwidth = {width}\n' for params, width in SIZES.items())


def answered(adamw_scale: Command, *arguments: str) -> Ladder:
    """The JSON of a command as the noun."""
    outcome = adamw_scale(*arguments, "--json")
    assert outcome.code == 0, outcome.err
    return Ladder.from_json(outcome.out)


def test_each_rung_is_what_recommend_says(adamw_scale: Command) -> None:
    """The same run on the command line of the other command gives the same document."""
    for rung, (params, width) in zip(answered(adamw_scale, *LADDER).rungs, SIZES.items(), strict=True):
        tokens = f"{20 * float(params[:-1]):g}{params[-1]}"
        run = ["--params", params, "--tokens", tokens, "--width", str(width), "--batch-size", "0.5M", "--lr", "3e-3"]
        alone = Recommendation.from_json(adamw_scale("recommend", *run, *MUP, "--json").out)
        assert rung.recommendation == alone


def test_a_file_of_runs_is_the_same_ladder(adamw_scale: Command, tmp_path: Path) -> None:
    """Keys at the top are for all; TOML, YAML and JSON say it alike; flags go over the file, for each or for all."""
    file = tmp_path / "ladder.toml"
    file.write_text(FILE)
    ladder = answered(adamw_scale, *LADDER)
    assert answered(adamw_scale, "ladder", "--run", str(file)) == ladder
    shared = {"tokens_per_param": 20, "parametrization": "mup", "base_width": 256, "batch_size": "0.5M", "lr": 3e-3}
    runs = [{"params": params, "width": width} for params, width in SIZES.items()]
    other = tmp_path / "ladder.json"
    other.write_text(json.dumps({**shared, "run": runs}))
    assert answered(adamw_scale, "ladder", "--run", str(other)) == ladder
    yaml = tmp_path / "ladder.yaml"
    top = "".join(f"{name}: {value}\n" for name, value in shared.items())
    yaml.write_text(top + "run:\n" + "".join(f"- {{params: {p}, width: {w}}}\n" for p, w in SIZES.items()))
    assert answered(adamw_scale, "ladder", "--run", str(yaml)) == ladder

    over = answered(adamw_scale, "ladder", "--run", str(file), "--lr", "1e-3,2e-3,3e-3,4e-3", "--tokens", "30B")
    assert [rung.recommendation.base_peak_lr for rung in over.rungs] == [1e-3, 2e-3, 3e-3, 4e-3]
    assert {rung.recommendation.run.dataset_size for rung in over.rungs} == {30e9}


def test_a_file_of_one_run_takes_lists_over_it(adamw_scale: Command, tmp_path: Path) -> None:
    """Tokens per parameter over tokens that the file says."""
    file = tmp_path / "run.toml"
    file.write_text('tokens = "1B"\nbatch_size = "0.5M"\nlr = 1e-3\nbetas = "0.9,0.99"\n')
    ladder = answered(adamw_scale, "ladder", "--run", str(file), "--params", "1B,2B", "--tokens-per-param", "20,30")
    assert [rung.recommendation.run.dataset_size for rung in ladder.rungs] == [20e9, 60e9]
    assert {rung.recommendation.run.betas for rung in ladder.rungs} == {(0.9, 0.99)}


def test_commas_of_a_value_are_no_list(adamw_scale: Command) -> None:
    """Betas are a pair and milestones a list of their own."""
    said = ["--betas", "0.8,0.9", "--schedule", "step", "--milestones", "0.6,0.7,0.8"]
    for rung in answered(adamw_scale, *LADDER, *said).rungs:
        assert rung.recommendation.run.betas == (0.8, 0.9)
        assert rung.recommendation.run.milestones == (0.6, 0.7, 0.8)


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("--tokens", "10B,20B"),
        ("--epochs", "1,2"),
        ("--steps", "10k,20k"),
        ("--batch-size", "0.5M,1M"),
        ("--peak-lr", "1e-3,2e-3"),
        ("--depth", "12,24"),
        ("--warmup", "1%,2%"),
    ],
)
def test_every_size_takes_a_list(adamw_scale: Command, flag: str, values: str) -> None:
    """Two values are two rungs, each the run with its value."""
    same = {"--params": "1B", "--tokens": "20B", "--batch-size": "0.5M", "--lr": "1e-3"}
    if flag in ("--steps", "--peak-lr"):
        del same[{"--steps": "--tokens", "--peak-lr": "--lr"}[flag]]
    rungs = answered(adamw_scale, "ladder", *sum(({**same, flag: values}).items(), ())).rungs
    for rung, value in zip(rungs, values.split(","), strict=True):
        alone = adamw_scale("recommend", *sum(({**same, flag: value}).items(), ()), "--json")
        assert rung.recommendation == Recommendation.from_json(alone.out)


def test_the_printed_learning_rate_gives_the_same_answer(adamw_scale: Command) -> None:
    """Without --lr and --batch-size a law fills them in; the table's own cells, passed on, are the same ladder."""
    asked = ["ladder", "--params", ",".join(SIZES), "--tokens-per-param", "20"]
    asked += ["--width", ",".join(map(str, SIZES.values())), *MUP]
    text, filled = adamw_scale(*asked).out, answered(adamw_scale, *asked)
    lines = text.splitlines()
    heads = lines[1].split()
    rows = [line.split() for line in lines[2 : 2 + len(SIZES)]]
    lrs, batches = (",".join(row[heads.index(name)] for row in rows) for name in ("--lr", "batch"))
    again = answered(adamw_scale, *asked, "--lr", lrs, "--batch-size", batches)
    assert [each.recommendation for each in again.rungs] == [each.recommendation for each in filled.rungs]
    for rung in filled.rungs:
        assert rung.lr_law is not None
        assert rung.lr_law.law in text
        assert rung.lr_law.source.split(",")[0].split()[0] in text
    assert "inside its domain" in text
    outside = adamw_scale("ladder", "--params", "3B", "--tokens", "60B", "--lr-law", "step-law").out
    assert "step-law, OUTSIDE its domain (Li et" in outside


def test_the_table_is_narrow_and_ends_with_a_command(adamw_scale: Command) -> None:
    """Six rungs fit into 80 columns, λ has two digits, and the last line can be run as it is."""
    sizes = ["ladder", "--params", "100M,300M,1B,3B,7B,13B", "--width", "512,1024,2048,3072,4096,5120"]
    outcome = adamw_scale(*sizes, "--tokens-per-param", "20", "--batch-size", "0.5M", "--lr", "3e-3", *MUP)
    *body, last = outcome.out.rstrip("\n").splitlines()
    assert max(map(len, body)) <= 80
    assert body[1].split() == ["params", "tokens", "steps", "batch", "--lr", "λ", "range", "lr", "λ"]
    assert body[4].split() == ["1B", "20B", "40000", "500000", "0.003", "0.44", "0.3–0.64", "0.000375", "0.055"]
    assert outcome.out.count("width-exponent (all)") == 1
    command = last.removeprefix("  next").split()
    assert command[:2] == ["adamw-scale", "ladder"]
    assert command[-4:] == ["--emit", "pytorch", "--out", "configs"]


def test_csv_is_a_row_for_each_rung(adamw_scale: Command) -> None:
    """In full precision, and what JSON says."""
    rows = list(csv.DictReader(io.StringIO(adamw_scale(*LADDER, "--csv").out)))
    for row, rung in zip(rows, answered(adamw_scale, *LADDER).rungs, strict=True):
        assert row["rung"] == rung.name
        assert float(row["dataset_size"]) == rung.recommendation.run.dataset_size
        assert float(row["weight_decay_hidden"]) == rung.hidden.weight_decay
        assert (
            float(row["weight_decay_low"]),
            float(row["weight_decay_high"]),
        ) == rung.recommendation.weight_decay_range
        assert float(row["lr_output"]) == rung.group("output").peak_lr
        assert row["cautions"].split() == [caution.code for caution in rung.recommendation.cautions]
        assert row["lr_law"] == row["file"] == ""


@pytest.mark.parametrize("framework", ["megatron", "pytorch", "litgpt", "deepspeed"])
def test_emit_writes_a_config_for_each_rung(adamw_scale: Command, tmp_path: Path, framework: str) -> None:
    """Each is what emit writes of that rung; again is no harm, into anything else is refused."""
    folder = tmp_path / "new" / "configs"
    ladder = answered(adamw_scale, *LADDER, "--emit", framework, "--out", str(folder))
    suffix = {"python": ".py", "shell": ".sh", "yaml": ".yaml", "json": ".json"}[FRAMEWORKS[framework].language]
    assert {file.name for file in folder.iterdir()} == {f"{params}{suffix}" for params in SIZES}
    for rung in ladder.rungs:
        assert rung.file == str(folder / f"{rung.name}{suffix}")
        snippet = emit(framework, rung.recommendation)
        assert Path(rung.file).read_text() == snippet.text
        told = {caution.code for caution in ladder.cautions if rung.name in caution.rungs}
        assert {caution.code for caution in snippet.cautions} <= told
    (folder / f"1B{suffix}").unlink()
    text = adamw_scale(*LADDER, "--emit", framework, "--out", str(folder)).out
    assert all(f"{params}{suffix}" in text for params in SIZES)
    assert len(list(folder.iterdir())) == len(SIZES)

    before = {file: file.read_text() for file in folder.iterdir()}
    refused = adamw_scale(*LADDER, "--rule", "power-lines", "--emit", framework, "--out", str(folder))
    assert (refused.code, refused.out) == (2, "")
    assert "pass a new folder" in refused.err
    assert {file: file.read_text() for file in folder.iterdir()} == before


def test_plot_draws_every_group(adamw_scale: Command, tmp_path: Path) -> None:
    """An SVG whose axis names the rungs, beside the same text."""
    file = tmp_path / "ladder.svg"
    outcome = adamw_scale(*LADDER, "--plot", str(file))
    assert outcome.code == 0, outcome.err
    drawn = file.read_text()
    assert drawn.startswith("<?xml")
    for label in (*SIZES, "hidden", "embedding, output", "range on hidden matrices"):
        assert f">{label}<" in drawn
    assert outcome.out.split("--plot")[0] == adamw_scale(*LADDER).out.split("--emit")[0]


def test_reference_and_rule_work_as_in_recommend(adamw_scale: Command, tmp_path: Path) -> None:
    """For every rung."""
    tuned = tmp_path / "tuned.toml"
    tuned.write_text('tokens = "3B"\nbatch_size = "0.25M"\nparams = "150M"\nlr = 2e-3\nweight_decay = 0.1\n')
    for more in ([], ["--rule", "power-lines"]):
        rungs = answered(adamw_scale, "ladder", "--params", "1B,3B", "--reference", str(tuned), *more).rungs
        for rung, params in zip(rungs, ("1B", "3B"), strict=True):
            alone = adamw_scale("recommend", "--params", params, "--reference", str(tuned), *more, "--json")
            assert rung.recommendation == Recommendation.from_json(alone.out)


REFUSED = [
    (["--width", "1,2,3"], "--params gives 4 rungs and --width gives 3"),
    (["--lr", "1e-3,2e-3"], "--lr gives 2 rungs and --params gives 4"),
    (["--tokens-per-param", "20,30"], "--params gives 4 rungs and --tokens-per-param gives 2"),
    (["--tokens", "3B"], "--tokens-per-param and --tokens both"),
    (["--samples", "3M"], "--tokens-per-param and --samples both"),
    (["--steps", "3k"], "--tokens-per-param and --steps both"),
    (["--params", "100M,,1B,3B"], "rung 2 of 4: --params"),
    (["--batch-size", "9B"], "rung 1 of 4: --batch-size"),
    (["--schedule", "linear,cosine"], "unknown schedule 'linear,cosine'"),
    (["--betas", "0.9,0.95,0.99"], "--betas"),
    (["--lr-law", "step-law"], "--lr-law step-law has nothing to fill in"),
    (["--lr-law", "chinchilla"], "unknown learning-rate law 'chinchilla'"),
    (["--rule", "power-line"], "did you mean 'power-lines'"),
    (["--csv", "--json"], "--csv and --json"),
    (["--emit", "pytorch"], "--emit needs --out DIR"),
    (["--out", "configs"], "--out needs --emit NAME"),
    (["--emit", "pytoch", "--out", "configs"], "did you mean 'pytorch'"),
    (["--emit", "pytorch", "--out", "a.toml"], "is a file"),
    (["--plot", "a.jpg"], ".png, .svg or .pdf"),
    (["--reference", "a.toml", "--calibration", "b.json"], "--calibration and --reference"),
    (["--run", "a.toml"], "--params gives 4 rungs and --run gives 2"),
    (["--run", "list.toml"], "list.toml: not a mapping of fields"),
    (["--run", "none.toml"], "none.toml: its list 'run' is empty"),
    (["--run", "twice.toml"], "--tokens-per-param and --tokens both"),
    (["--run", "table.toml"], "table.toml: holds a table 'runs'"),
]


@pytest.mark.parametrize(
    ("more", "says"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_input_is_one_line(
    adamw_scale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], says: str
) -> None:
    """Status 2, the flag by name, and nothing written."""
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text("[[run]]\nepochs = 2\n[[run]]\nepochs = 3\n")
    Path("list.toml").write_text("run = [1, 2]\n")
    Path("none.toml").write_text("run = []\n")
    Path("twice.toml").write_text("[[run]]\ntokens = 2\ntokens_per_param = 3\n")
    Path("table.toml").write_text("[runs]\nepochs = 2\n")
    before = sorted(tmp_path.iterdir())
    outcome = adamw_scale(*LADDER, *more)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert says in outcome.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_plot_needs_parameters(adamw_scale: Command, tmp_path: Path) -> None:
    """And where it cannot be drawn no config is written either."""
    run = ["ladder", "--samples", "1M,2M", "--batch-size", "256", "--lr", "1e-3"]
    files = ["--plot", str(tmp_path / "a.svg"), "--emit", "pytorch", "--out", str(tmp_path / "configs")]
    outcome = adamw_scale(*run, *files)
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert "pass --params" in outcome.err


def test_help_teaches(adamw_scale: Command) -> None:
    """Two examples, and both run."""
    text = adamw_scale("ladder", "--help").out
    assert text.count("adamw-scale ladder --") == 2
    assert "each [[run]] table" in text
    assert "--tokens-per-param" in text
    outcome = adamw_scale("ladder", "--params", "100M,300M,1B,3B", "--tokens-per-param", "20")
    assert outcome.code == 0, outcome.err


def test_sequences_are_the_batch_and_a_doubted_rung_has_status_1(adamw_scale: Command) -> None:
    """As in recommend; a law's batch is taken only where nothing says it."""
    sizes = ("ladder", "--params", "300M,1B", "--tokens-per-param", "20", "--lr", "1e-3")
    said = answered(adamw_scale, *sizes, "--sequences", "512", "--sequence-length", "2048")
    assert {rung.recommendation.run.batch_size for rung in said.rungs} == {512 * 2048}
    few = adamw_scale("ladder", "--params", "300M,1B", "--tokens", "20M", "--lr", "1e-3", "--batch-size", "0.5M")
    assert few.code == 1
    assert "NOT USABLE" in few.out
