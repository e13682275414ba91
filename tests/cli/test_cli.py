"""The command line: translation of options, both outputs, and one line for everything that is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command, Outcome

RUN = ["--params", "1.3B", "--tokens", "26B", "--batch-size", "0.5M", "--lr", "3e-4", "--schedule", "linear"]


def piped(text: str, *arguments: str) -> Outcome:
    """Run `... | adamw-scale ...` as a process, with this text on its stdin."""
    process = subprocess.run(
        [sys.executable, "-m", "adamw_scale", *arguments], input=text, capture_output=True, text=True, check=False
    )
    return Outcome(process.returncode, process.stdout, process.stderr)


def test_recommend_json_is_the_published_formula(adamw_scale: Command) -> None:
    """2505.13738: λ = B / (lr * D * 1.084 * 20^-0.527)."""
    outcome = adamw_scale("recommend", *RUN, "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert document["weight_decay"] == pytest.approx(5e5 / (3e-4 * 26e9 * 1.084 * 20**-0.527), rel=1e-12)
    assert document["rule"] == "power-lines"
    assert len([other for other in document["alternatives"] if other["source"]]) >= 2


def test_recommend_for_people(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value to two digits, range, rule, source, timescale, competitors, cautions; no colour in a pipe."""
    monkeypatch.setenv("COLUMNS", "80")
    outcome = adamw_scale("recommend", *RUN, "--weight-decay", "0.1")
    for text in ("weight decay 0.29", "range 0.13 to 0.63", "power-lines", "2505.13738", "22 % of the run", "steplaw-refit", "caution", "fix", "today"):  # fmt: skip
        assert text in outcome.out
    assert "\x1b" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json", "-"])
def test_run_files_say_what_flags_say(
    adamw_scale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """The same run from a file of any format, or stdin, is the same advice; flags override it."""
    content = {
        "toml": 'params = "1.3B"\ntokens = "26B"\nbatch_size = "0.5M"\npeak_lr = 3e-4\n',
        "yaml": "num_params: 1.3B\ntokens: 26B\nbatch_size: 0.5M\nlr: 3e-4\n",
        "json": '{"num_params": 1.3e9, "dataset_size": 26e9, "batch_size": 5e5, "peak_lr": 3e-4}',
    }
    file = tmp_path / f"run.{suffix}"
    if suffix == "-":
        outcome = piped(content["yaml"].replace("3e-4", "1e-3"), "recommend", "--run", "-", "--lr", "3e-4", "--json")
        assert outcome.code == 0
        read = outcome.out
    else:
        file.write_text(content[suffix].replace("3e-4", "1e-3"))
        read = adamw_scale("recommend", "--run", str(file), "--lr", "3e-4", "--json").out
    expected = json.loads(adamw_scale("recommend", *RUN, "--json").out)
    assert json.loads(read)["weight_decay"] == pytest.approx(expected["weight_decay"])


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        (["--warmup", "2%"], "warmup_fraction", 0.02),
        (["--warmup", "0.02"], "warmup_fraction", 0.02),
        (["--warmup", "2000"], "warmup_steps", 2000),
        (["--betas", "0.9,0.99"], "betas", [0.9, 0.99]),
        (["--final-lr-fraction", "10%"], "final_lr_fraction", 0.1),
        (["--width", "2048", "--base-width", "256", "--parametrization", "mup"], "parametrization", "mup"),
        (["--weight-decay", "0.1"], "weight_decay", 0.1),
        (["--epochs", "2"], "epochs", 2),
        (["--sequence-length", "2Ki"], "sequence_length", 2048),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and isinstance(value[0], str) else "",
)
def test_options_become_fields(adamw_scale: Command, options: list[str], field: str, value: object) -> None:
    """Each option lands in the run it describes."""
    run = json.loads(adamw_scale("recommend", *RUN, *options, "--json").out)["run"]
    assert run[field] == value


def test_samples_set_the_unit(adamw_scale: Command) -> None:
    """--samples is a data set counted in samples."""
    run = json.loads(adamw_scale("recommend", "--samples", "1.28M", "--epochs", "90", "--batch-size", "1024", "--lr", "1e-3", "--json").out)["run"]  # fmt: skip
    assert (run["unit"], run["dataset_size"], run["betas"]) == ("samples", 1.28e6, [0.9, 0.999])


def test_emit_from_options_and_from_a_pipe(adamw_scale: Command) -> None:
    """`emit NAME options` and `recommend --json | emit NAME` write the same snippet."""
    direct = adamw_scale("emit", "megatron", *RUN, "--sequence-length", "2000")
    advice = adamw_scale("recommend", *RUN, "--sequence-length", "2000", "--json").out
    outcome = piped(advice, "emit", "megatron")
    assert outcome.code == 0
    assert direct.out == outcome.out
    assert "--weight-decay 0.28674043" in direct.out
    assert "caution parametrization" in direct.err


def test_emit_json_is_one_document(adamw_scale: Command) -> None:
    """The snippet, its language and its cautions."""
    document = json.loads(adamw_scale("emit", "pytorch", *RUN, "--json").out)
    assert document["schema"] == "adamw-scale/snippet/1"
    assert document["language"] == "python"
    assert "TOTAL_STEPS = 52000" in document["text"]


def test_plan_runs_nothing(adamw_scale: Command, tmp_path: Path) -> None:
    """What a calibration would do, without a folder."""
    outcome = adamw_scale("calibrate", "--plan", "--json")
    document = json.loads(outcome.out)
    assert document["steps_per_probe"] == 2048
    assert document["probes_likely"] == 19
    assert "19 probes likely" in adamw_scale("calibrate", "--plan").out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[], ["recommend"], ["emit"], ["calibrate"]], ids=str)
def test_help_teaches(adamw_scale: Command, command: list[str]) -> None:
    """Every command explains itself with an example and its options."""
    outcome = adamw_scale(*command, "--help")
    assert outcome.code == 0
    assert "Usage: adamw-scale" in outcome.out
    if command:
        assert f"adamw-scale {command[0]} --" in outcome.out or f"adamw-scale {command[0]} " in outcome.out


def test_version(adamw_scale: Command) -> None:
    """The version, and nothing else."""
    assert adamw_scale("--version").out.startswith("adamw-scale 0.")


BAD = [
    (["recomend"], "did you mean 'recommend'? known: audit, calibrate, convert, emit, list, probe, recipes, recommend, report, timescale"),
    (["recommend", *RUN, "--nonsense", "3"], "--nonsense"),
    (["recommend", *RUN, "--schedule", "cosin"], "did you mean 'cosine'"),
    (["recommend", *RUN, "--rule", "power-line"], "did you mean 'power-lines'"),
    (["recommend", *RUN, "--lr", "0"], "--lr"),
    (["recommend", *RUN, "--lr", "-1"], "--lr"),
    (["recommend", *RUN, "--lr", "nan"], "peak_lr"),
    (["recommend", *RUN, "--lr", "1e999"], "peak_lr"),
    (["recommend", *RUN, "--lr", ""], "peak_lr"),
    (["recommend", *RUN, "--lr", "0,0003"], "peak_lr"),
    (["recommend", *RUN, "--lr", "1" * 50_000 + "x"], "peak_lr"),
    (["recommend", *RUN, "--lr", "1e308"], "--lr"),
    (["recommend", *RUN, "--lr", "1e-300"], "--lr"),
    (["recommend", *RUN, "--weight-decay", "1e-300"], "--weight-decay 0"),
    (["recommend", *RUN, "--rule", ""], "unknown rule"),
    (["recommend", *RUN, "--rule", "x" * 100_000], "unknown rule"),
    (["recommend", *RUN, "--calibration", ""], "calibration"),
    (["recommend", *RUN, "--calibration", "/dev/zero"], "/dev/zero"),
    (["recommend", *RUN, "--width", "64", "--base-width", "32"], "drop --base-width"),
    (["recommend", "--run", ""], "empty path"),
    (["recommend", "--run", "/dev/zero"], "not a file"),
    (["recommend", *RUN, "--params", "0"], "--params"),
    (["recommend", *RUN, "--batch-size", "27B"], "larger than the data set"),
    (["recommend", *RUN, "--samples", "3M"], "mixed"),
    (["recommend", *RUN, "--unit", "samples"], "mixed"),
    (["recommend", *RUN, "--dataset-size", "3M"], "keep one"),
    (["recommend", *RUN, "--warmup", "52000"], "does not fit"),
    (["recommend", *RUN, "--warmup", "100%"], "does not fit"),
    (["recommend", *RUN, "--warmup", "often"], "warmup"),
    (["recommend", *RUN, "--weight-decay", "3333.4"], "lower --weight-decay"),
    (["recommend", *RUN, "--decay-fraction", "0.1"], "wsd"),
    (["recommend", *RUN, "--betas", "0.9"], "--betas"),
    (["recommend", *RUN, "--parametrization", "mup"], "--base-width"),
    (["recommend"], "pass --tokens or --samples, --batch-size"),
    (["recommend", "--tokens", "1B", "--epochs", "9", "--batch-size", "1M", "--lr", "1e-3"], "--params"),
    (["recommend", "--tokens", "1B", "--batch-size", "1M", "--lr", "1e-3"], "--params"),
    (["recommend", "--run", "no-such-file.toml"], "no-such-file.toml"),
    (["recommend", "--run", "/"], "/"),
    (["recommend", "--calibration", "no-such-file.json"], "no-such-file.json"),
    (["emit", "pytoch", *RUN], "did you mean 'pytorch'"),
    (["emit", *RUN], "FRAMEWORK"),
    (["calibrate"], "--out"),
    (["calibrate", "--out", "x", "--device", "gpu"], "device"),
    (["calibrate", "--out", "x", "--task", "char-ml"], "did you mean 'char-lm'"),
    (["calibrate", "--out", "x", "--seeds", "1"], "--seeds"),
    (["calibrate", "--out", "x", "--engine", "process"], "did you mean 'processes'"),
    (["calibrate", "--out", "x", "--jobs", "0"], "--jobs"),
    (["calibrate", "--out", "x", "--data", "no-such-file.txt"], "no-such-file.txt"),
    (["calibrate", "--out", "pyproject.toml"], "is a file"),
    (["calibrate", "--out", "/proc/no/such"], "/proc/no/such"),
    (["calibrate", "--plan", "--depth", "1e6"], "--depth"),
    (["calibrate", "--plan", "--width", "1e9"], "--width"),
    (["calibrate", "--plan", "--epochs", "1e8"], "--epochs"),
    (["calibrate", "--plan", "--convention", "independent"], "convention"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"), BAD, ids=lambda value: " ".join(value[-3:]) if isinstance(value, list) else ""
)
def test_bad_input_is_one_line_and_status_2(adamw_scale: Command, arguments: list[str], says: str) -> None:
    """Nothing on stdout, one line on stderr that names what is wrong."""
    outcome = adamw_scale(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert says in outcome.err


FILES = {
    "binary.toml": (b"\x00\x01\x02", "binary"),
    "latin.toml": ("# é".encode("latin-1"), "UTF-8"),
    "torn.json": (b'{"lr": ', "not valid JSON"),
    "torn.toml": (b"lr = ", "not valid TOML"),
    "torn.yaml": (b"lr: [", "not valid YAML"),
    "list.json": (b"[1, 2]", "not a mapping"),
    "empty.yaml": (b"", "not a mapping"),
    "table.toml": (b"[run]\nlr = 1\n", "top level"),
    "python.yaml": (b"lr: !!python/object/apply:os.system ['true']", "not valid YAML"),
    "bomb.yaml": (b"a: &a [1,1]\nb: &b [*a,*a]\nlr: [*b,*b]\n", "unknown field of a run"),
    "deep.json": (b"[" * 50_000, "not valid JSON"),
    "dots.toml": (b"a." * 10_000 + b"a = 1", "not valid TOML"),
    "twice.json": (b'{"lr": 1e-3, "lr": 1e-4}', "given twice"),
    "twice.yaml": (b"lr: 1e-3\nlr: 1e-4\n", "given twice"),
    "spellings.toml": (b"lr = 1e-3\npeak_lr = 1e-4\n", "keep one"),
    "warmups.toml": (b"warmup = 0.1\nwarmup_fraction = 0.2\n", "keep one"),
    "base60.yaml": (b"tokens: 26B\nlr: 1e-3\nbatch_size: 1:30\n", "'1:30' is not a number"),
    "deep.yaml": (b"[" * 10_000, "YAML"),
    "deep.toml": (b"a = " + b"[" * 10_000, "not valid TOML"),
    "unknown.toml": (b"learning_rat = 3\n", "did you mean 'learning_rate'"),
    "nested.json": (b'{"peak_lr": [1, [2]]}', "peak_lr"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_run_files_are_one_line(adamw_scale: Command, tmp_path: Path, name: str) -> None:
    """Whatever is in the file, it is read as data and refused in one line."""
    content, says = FILES[name]
    file = tmp_path / name
    file.write_bytes(content)
    outcome = adamw_scale("recommend", "--run", str(file))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert says in outcome.err
    assert len(outcome.err) < 900


def test_a_flag_does_not_change_the_unit_of_a_file(adamw_scale: Command, tmp_path: Path) -> None:
    """Samples on the command line over a file in tokens would mix units."""
    file = tmp_path / "run.json"
    file.write_text('{"tokens": "26B", "batch_size": "0.5M", "lr": 3e-4}')
    for flags in (["--samples", "50M"], ["--unit", "samples"]):
        assert "mixed" in adamw_scale("recommend", "--run", str(file), *flags).err


def test_leading_zeros_are_decimal(adamw_scale: Command, tmp_path: Path) -> None:
    """YAML 1.1 would read 0500000 as octal."""
    file = tmp_path / "run.yaml"
    file.write_text("tokens: 26B\nbatch_size: 0500000\nlr: 3e-4\nparams: 1.3B\nbetas: [0.9, 0.99]\n")
    run = json.loads(adamw_scale("recommend", "--run", str(file), "--json").out)["run"]
    assert (run["batch_size"], run["betas"]) == (500_000, [0.9, 0.99])


def test_a_huge_file_is_not_read(adamw_scale: Command, tmp_path: Path) -> None:
    """100 MB are no run."""
    file = tmp_path / "run.json"
    with file.open("wb") as sparse:
        sparse.truncate(100_000_000)
    assert "larger than 64 KiB" in adamw_scale("recommend", "--run", str(file)).err


@pytest.mark.parametrize("text", ["", "hello", "{}", '{"schema": "adamw-scale/recommendation/1"}', "[" * 100_000])
def test_emit_refuses_what_is_no_recommendation(text: str) -> None:
    """A pipe that does not carry a recommendation ends in one line."""
    outcome = piped(text, "emit", "pytorch")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "adamw-scale recommend --json" in outcome.err


def test_a_reader_that_leaves_is_no_traceback() -> None:
    """`adamw-scale ... | head -0` is quiet."""
    outcome = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m adamw_scale recommend {' '.join(RUN)} | true"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stderr == ""
