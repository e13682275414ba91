"""Flags and run files become one run: each word lands in its field, and what is said anew goes first."""

import json
import math
from pathlib import Path

import pytest
from conftest import Command, piped

RUN = ["--params", "1.3B", "--tokens", "26B", "--batch-size", "0.5M", "--lr", "3e-4", "--schedule", "linear"]


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
    run = json.loads(
        adamw_scale(
            "recommend", "--samples", "1.28M", "--epochs", "90", "--batch-size", "1024", "--lr", "1e-3", "--json"
        ).out
    )["run"]
    assert (run["unit"], run["dataset_size"], run["betas"]) == ("samples", 1.28e6, [0.9, 0.999])


def test_a_flag_does_not_change_the_unit_of_a_file(adamw_scale: Command, tmp_path: Path) -> None:
    """Samples on the command line over a file in tokens would mix units."""
    file = tmp_path / "run.json"
    file.write_text('{"tokens": "26B", "batch_size": "0.5M", "lr": 3e-4}')
    for flags in (["--samples", "50M"], ["--unit", "samples"]):
        assert "mixed" in adamw_scale("recommend", "--run", str(file), *flags).err


@pytest.fixture
def rates(tmp_path: Path) -> str:
    """A cosine in eight steps, as fractions of its peak."""
    file = tmp_path / "rates.txt"
    file.write_text("\n".join(str(0.5 + 0.5 * math.cos(math.pi * i / 7)) for i in range(8)))
    return str(file)


@pytest.mark.parametrize("where", ["in the file", "beside the file", "over another one"])
def test_a_schedule_file_is_stretched_over_the_run_of_a_run_file(
    adamw_scale: Command, tmp_path: Path, rates: str, where: str
) -> None:
    """Wherever the two are named, the run is as long as the run file says, and its own schedule goes."""
    file = tmp_path / "run.json"
    own = {
        "in the file": {"schedule_file": rates},
        "beside the file": {"warmup_steps": 1000, "final_lr_fraction": 0.1},
        "over another one": {"schedule_file": "no such file"},
    }
    file.write_text(json.dumps({"params": "1.3B", "tokens": "26B", "batch_size": "0.5M", "lr": 3e-4, **own[where]}))
    more = [] if where == "in the file" else ["--schedule-file", rates]
    read = json.loads(adamw_scale("recommend", "--run", str(file), *more, "--json").out)
    flags = json.loads(adamw_scale("recommend", *RUN[:-2], "--schedule-file", rates, "--json").out)
    assert read["run"] == flags["run"]
    assert (read["run"]["dataset_size"], read["run"]["epochs"]) == (26e9, 1)


def test_a_schedule_over_that_of_a_file_is_not_stopped_by_a_table_it_replaces(
    adamw_scale: Command, tmp_path: Path
) -> None:
    """What is overridden is not opened."""
    file = tmp_path / "run.json"
    file.write_text('{"params": "1.3B", "tokens": "26B", "batch_size": "0.5M", "schedule_file": "nowhere.txt"}')
    assert adamw_scale("recommend", "--run", str(file)).code == 2
    outcome = adamw_scale("recommend", "--run", str(file), "--lr", "3e-4", "--schedule", "linear", "--json")
    assert json.loads(outcome.out)["run"]["schedule"] == "linear"


def test_a_schedule_file_does_not_shorten_what_is_carried_or_audited(
    adamw_scale: Command, tmp_path: Path, rates: str
) -> None:
    """A tuned run and a config say how long they are, too."""
    tuned = tmp_path / "tuned.toml"
    tuned.write_text('params = "1B"\ntokens = "20B"\nbatch_size = "0.5M"\nlr = 3e-4\nweight_decay = 0.1\n')
    carried = json.loads(adamw_scale("recommend", "--reference", str(tuned), "--schedule-file", rates, "--json").out)
    assert carried["run"]["dataset_size"] == 20e9
    config = tmp_path / "launch.sh"
    config.write_text(
        "python pretrain_gpt.py --lr 3e-4 --weight-decay 0.1 --train-iters 50000 "
        "--global-batch-size 256 --seq-length 2048"
    )
    audited = json.loads(adamw_scale("audit", str(config), "--schedule-file", rates, "--params", "1B", "--json").out)
    assert audited["run"]["dataset_size"] == 50_000 * 256 * 2048


@pytest.mark.parametrize(("flags", "epochs"), [(["--steps", "104k"], 2), (["--epochs", "3"], 3)])
def test_the_length_that_is_said_last_counts(
    adamw_scale: Command, tmp_path: Path, flags: list[str], epochs: float
) -> None:
    """Steps over the epochs of a file, or of a tuned run, are its length; the data set stays."""
    file = tmp_path / "run.json"
    said = {"params": "1B", "tokens": "26B", "epochs": 1, "batch_size": "0.5M", "lr": 3e-4, "weight_decay": 0.1}
    file.write_text(json.dumps(said))
    for option in ("--run", "--reference"):
        run = json.loads(adamw_scale("recommend", option, str(file), *flags, "--json").out)["run"]
        assert (run["dataset_size"], run["epochs"]) == (26e9, epochs)


@pytest.mark.parametrize("lr", ["1e-3", "3e-4"])
def test_a_flag_rescales_the_table_of_a_file(adamw_scale: Command, tmp_path: Path, lr: str) -> None:
    """Its peak is one the file says, so --lr goes first; beside --schedule-file another peak is a contradiction."""
    (tmp_path / "rates.txt").write_text("3e-4\n1e-4\n")
    file = tmp_path / "run.json"
    file.write_text(
        json.dumps({"tokens": "1B", "params": "50M", "batch_size": "90k", "schedule_file": str(tmp_path / "rates.txt")})
    )
    run = json.loads(adamw_scale("recommend", "--run", str(file), "--lr", lr, "--json").out)["run"]
    assert run["peak_lr"] == float(lr)
    flags = [
        "--tokens",
        "1B",
        "--params",
        "50M",
        "--batch-size",
        "100k",
        "--schedule-file",
        str(tmp_path / "rates.txt"),
    ]
    assert adamw_scale("recommend", *flags, "--lr", lr).code == (2 if lr == "1e-3" else 0)


def test_a_decay_that_is_zero_for_every_purpose_is_refused(adamw_scale: Command, tmp_path: Path) -> None:
    """In a config as on the command line, in one line."""
    config = tmp_path / "launch.sh"
    config.write_text("python pretrain_gpt.py --lr 3e-4 --weight-decay 1e-320 --lr-decay-style cosine")
    for arguments in (
        ["audit", str(config), "--framework", "megatron", "--tokens", "26B", "--batch-size", "0.5M"],
        ["recommend", *RUN, "--weight-decay", "1e-320"],
        ["timescale", "--steps", "10k", "--lr", "1e-3", "--weight-decay", "1e-320"],
        ["convert", "1e-320", "--from", "tfa", "--to", "pytorch", "--lr", "1e-3"],
    ):
        outcome = adamw_scale(*arguments)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        said = "not between 1e-30 and 1e+30" if arguments[0] == "audit" else "too small for anything"
        assert said in outcome.err
