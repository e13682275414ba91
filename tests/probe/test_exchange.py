"""Runs of other tools as probes, and probes for other tools."""

import csv
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from writers import result

from adamw_scale import TrainingRun
from adamw_scale.errors import CalibrationError, SpecError
from adamw_scale.probe.exchange import export_to_optuna, import_csv, read_csv, to_csv
from adamw_scale.spec.measurement import ProbeResult

CONSTANT = {"unit": "samples", "dataset_size": "50k", "batch_size": "128", "epochs": 4}
TABLE = "lr,weight_decay,loss,seed\n1e-3,0.1,2.31,0\n1e-3,0.2,2.28,0\n1e-3,0.1,2.33,1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A place for a CSV file."""
    return tmp_path / "runs.csv"


def imported(file: Path, text: str, *, columns: dict[str, str] | None = None, **fields: Any) -> list[ProbeResult]:
    """What a file with this text holds."""
    file.write_text(text)
    return read_csv(file, {**CONSTANT, **fields}, columns or {}, "mine")


def test_rows_are_runs(file: Path) -> None:
    """Each row is a training with what its columns and the options say, of a task of its own."""
    results = imported(file, TABLE)
    assert [(r.config.run.lr, r.config.run.weight_decay, r.loss, r.config.seed) for r in results] == [
        (1e-3, 0.1, 2.31, 0),
        (1e-3, 0.2, 2.28, 0),
        (1e-3, 0.1, 2.33, 1),
    ]
    assert results[0].config.task == {"name": "imported", "version": "1", "source": "mine"}
    assert results[0].config.run == TrainingRun(
        unit="samples", dataset_size=50_000, batch_size=128, epochs=4, peak_lr=1e-3, weight_decay=0.1
    )
    assert {r.status for r in results} == {"done"}


def test_a_rows_own_steps_go_over_the_epochs_of_the_options(file: Path) -> None:
    """As flags go over a run file: the data set stays, and the row says how long it is trained on."""
    (only,) = imported(file, "lr,weight_decay,loss,steps\n1e-3,0.1,2.3,500\n")
    assert (only.config.run.dataset_size, only.config.run.total_steps) == (50_000, 500)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_spreadsheets_are_read(file: Path, separator: str) -> None:
    """A byte-order mark, quotes, blank lines, capitals and other separators are what spreadsheets write."""
    text = "\ufeff" + 'LR,"Weight Decay",Loss,batch-size\r\n1e-3,"0.1",2.31,256\r\n\r\n,,,\r\n1e-3,0.2,2.28,256\r\n'
    results = imported(file, text.replace(",", separator))
    assert [r.config.run.weight_decay for r in results] == [0.1, 0.2]
    assert {r.config.run.batch_size for r in results} == {256.0}
    assert {r.config.seed for r in results} == {0}


@pytest.mark.parametrize("loss", ["", "nan", "NaN", "inf", "-Infinity", "None", "N/A", "1e999"])
def test_a_loss_that_is_none_diverged(file: Path, loss: str) -> None:
    """However a tool writes a loss that is no number."""
    (only,) = imported(file, f"lr,weight_decay,loss\n1e-3,0.1,{loss}\n")
    assert (only.status, only.loss, only.value) == ("diverged", None, math.inf)


def test_columns_of_other_names_are_named(file: Path) -> None:
    """A tracker's own names are mapped, and what is not read is said."""
    file.write_text("Name,config.lr,wd,val_loss,loss\nfoo,1e-3,0.1,2.31,9\n")
    notices: list[str] = []
    columns = {"lr": "config.lr", "weight_decay": "wd", "loss": "val_loss"}
    (only,) = read_csv(file, CONSTANT, columns, "mine", notices.append)
    assert (only.config.run.lr, only.config.run.weight_decay, only.loss) == (1e-3, 0.1, 2.31)
    assert notices == [f"{file}: ignored 2 columns (Name, loss); --column FIELD=NAME gives one a meaning"]


def test_empty_cells_leave_the_option(file: Path) -> None:
    """A cell overrides the option of its field; an empty one does not."""
    results = imported(file, "lr,weight_decay,loss,epochs\n1e-3,0.1,2.3,\n1e-3,0.1,2.2,8\n")
    assert [r.config.run.epochs for r in results] == [4, 8]


def test_steps_say_how_long_a_run_is(file: Path) -> None:
    """Steps are epochs where the data set is known, and a data set seen once where it is not."""
    fixed = {"unit": "samples", "dataset_size": "50k", "batch_size": 100}
    file.write_text("lr,weight_decay,loss,steps\n1e-3,0.1,2.3,1000\n")
    assert read_csv(file, fixed, {}, "mine")[0].config.run.epochs == 2.0
    assert read_csv(file, {"batch_size": "100"}, {}, "mine")[0].config.run.dataset_size == 100_000
    file.write_text("lr,weight_decay,loss,batch_size\n1e-3,0.1,2.3,100\n1e-3,0.1,2.3,200\n")
    runs = [r.config.run for r in read_csv(file, {"steps": 500, "epochs": 2}, {}, "mine")]
    assert [(run.dataset_size, run.total_steps) for run in runs] == [(25_000, 500), (50_000, 500)]


def test_decays_are_kept_in_one_unit(file: Path) -> None:
    """Weight decays of another library are converted, so that timescales compare."""
    (only,) = imported(file, "lr,weight_decay,loss\n1e-3,1e-4,2.3\n", convention="independent")
    assert only.config.run.convention == "pytorch"
    assert only.config.run.timescale_of(only.config.run.weight_decay or 0).iters == pytest.approx(
        1
        / (
            1e-3
            * TrainingRun(**CONSTANT, peak_lr=1e-3, weight_decay=1e-4, convention="independent").current_weight_decay
        )
    )
    assert only.config.run.weight_decay != 1e-4


def test_runs_without_decay_are_skipped_with_a_notice(file: Path) -> None:
    """Their timescale is infinite, which no fit has a place for."""
    file.write_text("lr,weight_decay,loss\n1e-3,0,2.3\n1e-3,0.1,2.2\n1e-3,0.0,2.4\n")
    notices: list[str] = []
    assert len(read_csv(file, CONSTANT, {}, "mine", notices.append)) == 1
    assert notices == [f"{file}: skipped 2 runs without weight decay, whose timescale is infinite (line 2, 4)"]


def test_the_same_rows_have_the_same_keys(file: Path) -> None:
    """In another file, another order, beside other rows; but not of another source."""
    first = imported(file, TABLE)
    lines = TABLE.splitlines(keepends=True)
    again = imported(file, lines[0] + "1e-3,0.4,2.5,0\n" + "".join(reversed(lines[1:])) + lines[1])
    assert {r.key for r in first} < {r.key for r in again}
    assert len(again) == 4
    assert not {r.key for r in first} & {r.key for r in read_csv(file, CONSTANT, {}, "other")}


def test_contradictory_rows_are_refused(file: Path) -> None:
    """The same run with two losses is either two seeds or two experiments."""
    with pytest.raises(SpecError, match=r"line 3: repeats line 2 with another loss: .*--column seed=NAME"):
        imported(file, "lr,weight_decay,loss\n1e-3,0.1,2.3\n1e-3,0.1,2.4\n")
    file.write_text(TABLE)
    assert import_csv(file, file.parent, CONSTANT).imported == 3
    assert import_csv(file, file.parent, CONSTANT).stored_before == 3
    file.write_text(TABLE.replace("2.31", "9"))
    with pytest.raises(CalibrationError, match=r"seed 0 is stored with loss 2.31, not 9.0: .*--source"):
        import_csv(file, file.parent, CONSTANT)


def test_columns_have_the_names_of_flags(file: Path) -> None:
    """Whatever word a flag or a run file takes is a column's name too."""
    file.write_text("LR,params,tokens,warmup,weight_decay,loss\n1e-3,42k,26M,2%,0.1,2.3\n")
    notices: list[str] = []
    (only,) = read_csv(file, {"batch_size": 1024}, {}, "mine", notices.append)
    run = only.config.run
    assert (run.num_params, run.unit, run.dataset_size, run.warmup_fraction) == (42_000, "tokens", 26e6, 0.02)
    assert notices == []
    file.write_text("lr,n,weight_decay,loss\n1e-3,42k,0.1,2.3\n")
    (named,) = read_csv(file, CONSTANT, {"params": "n"}, "mine")
    assert named.config.run.num_params == 42_000


def test_two_words_for_one_thing_are_refused(file: Path) -> None:
    """Neither of two columns that say the same is silently dropped."""
    with pytest.raises(SpecError, match=r"columns 'lr' and 'learning rate' are both peak_lr"):
        imported(file, "lr,learning rate,weight_decay,loss\n1e-3,1e-3,0.1,2.3\n")
    with pytest.raises(SpecError, match=r"line 2.*--samples and --dataset-size both"):
        imported(file, "lr,samples,dataset_size,weight_decay,loss\n1e-3,50k,50k,0.1,2.3\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr,weight_decay,loss\n1e-3,1,2\n1e-3,abc,2\n", r"line 3, column 'weight_decay': --weight-decay: 'abc' is no"),
        ("lr,weight_decay,loss\n1e-3,0.1,2;3\n", r"line 2, column 'loss': '2;3' is no loss"),
        ("lr,weight_decay,loss\n-1,0.1,2.3\n", r"line 2, column 'lr': --lr \(peak_lr\) = -1"),
        ("lr,weight_decay,loss,schedule\n1e-3,0.1,2.3,cosin\n", r"line 2, column 'schedule': unknown schedule 'cosin'"),
        ("lr,weight_decay,loss,seed\n1e-3,0.1,2.3,x\n", r"line 2, column 'seed': 'x' is no seed"),
        ("lr,weight_decay,loss,seed\n1e-3,0.1,2.3,-1\n", r"line 2, column 'seed'"),
        ("lr,weight_decay,loss,betas\n1e-3,0.1,2.3,[0.9\n", r"line 2, column 'betas': '\[0.9' is no list"),
        ("lr,weight_decay,loss\n,0.1,2.3\n", r"line 2: .*peak_lr"),
        ("lr,loss\n1e-3,2.3\n", r"line 2, .*weight_decay|line 2: weight_decay is missing"),
        ("lr,weight_decay\n1e-3,0.1\n", r"no column 'loss': name it with --column loss=NAME. It has lr, weight_decay"),
        ("lr,peak_lr,weight_decay,loss\n", r"columns 'lr' and 'peak_lr' are both peak_lr"),
        ("lr,weight_decay,loss\n1e-3,0.1\n", r"line 2: 2 cells under a heading of 3"),
        ("lr,weight_decay,loss\n", r"holds no training"),
        ("", r"no column 'loss'"),
        ("lr,weight_decay,loss\n1e-3,0.1,\x00\n", r"line 2|NUL"),
        ('lr,weight_decay,loss\n1e-3,0.1,"' + "x" * 200_000, r"field larger"),
        ("lr,weight_decay,loss,batch_size\n1e-3,0.1,2.3,64k\n", r"line 2, column 'batch_size': --batch-size = 64,000"),
    ],
    ids=range(17),
)  # fmt: skip
def test_mistakes_name_line_and_column(file: Path, text: str, message: str) -> None:
    """Whatever is wrong is one line that says where, and what to do."""
    with pytest.raises(SpecError, match=message) as caught:
        imported(file, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"loss": "val"}, r"--column loss=val: .* has no such columns. It has lr, weight_decay, loss"),
        ({"lss": "loss"}, r"--column lss=loss: 'lss' is no field"),
    ],
    ids=str,
)
def test_mistaken_columns_are_named(file: Path, columns: dict[str, str], message: str) -> None:
    """So is a mapping to a column that is not there, or of a field that is none."""
    with pytest.raises(SpecError, match=message):
        imported(file, TABLE, columns=columns)


def test_what_is_no_text_file_is_refused(file: Path, tmp_path: Path) -> None:
    """Missing files, folders and binary files are one line each."""
    with pytest.raises(SpecError, match="No such file"):
        read_csv(file, CONSTANT, {}, "mine")
    with pytest.raises(SpecError, match="is not a file"):
        read_csv(tmp_path, CONSTANT, {}, "mine")
    file.write_bytes(b"lr,weight_decay,loss\n\xff\xfe,1,2\n")
    with pytest.raises(SpecError, match="not UTF-8"):
        read_csv(file, CONSTANT, {}, "mine")


CELLS = st.one_of(
    st.sampled_from(
        ["1e-3", "0.1", "2.3", "0", "", "nan", "[1]", "[[0,0],[1,1]]", "1e400", "-1", '"', "64k", "9" * 400]
    ),
    st.text(max_size=6),
)


@given(
    names=st.lists(
        st.sampled_from(["lr", "weight_decay", "loss", "seed", "steps", "betas", "schedule_table", "x"]), max_size=6
    ),
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=6), max_size=4),
)
def test_any_table_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], rows: list[list[str]]
) -> None:
    """No table ends in anything but results or a SpecError."""
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_text("\n".join(",".join(row) for row in [names, *rows]), encoding="utf-8", errors="replace")
    with suppress(SpecError):
        results = read_csv(file, CONSTANT, {}, "mine")
        assert all(math.isfinite(result.config.log2_tau) for result in results)


def test_what_is_written_is_read_back(file: Path) -> None:
    """Every field of every run, tables of schedules included, and every digit."""
    rows = imported(file, TABLE + "1e-3,0.7,,3\n")
    table = ((0.0, 0.0), (0.25, 1.0), (1.0, 1 / 3))
    more = imported(file, TABLE, schedule="table", schedule_table=table, betas=(0.9, 0.98), width=64, milestones=None)
    text = to_csv([*rows, *more])
    file.write_text(text)
    assert read_csv(file, {}, {}, "mine") == [*rows, *more]


def test_a_csv_holds_what_was_measured() -> None:
    """Timescales, metrics and reasons stand beside the losses."""
    measured = result(0).model_copy(update={"metrics": {"accuracy": 0.75}})
    first, second = csv.DictReader(to_csv([measured, result(1, status="failed")]).splitlines())
    run = measured.config.run
    assert float(first["tau_iters"]) == pytest.approx(1 / (2e-3 * 0.1))
    assert float(first["tau_run"]) == pytest.approx(1 / (2e-3 * 0.1) / run.total_steps)
    assert (first["metric_accuracy"], first["status"], first["key"]) == ("0.75", "done", measured.key)
    assert (second["metric_accuracy"], second["loss"], second["reason"]) == ("", "", "it broke")


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """An Optuna storage in a file."""
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_optuna_holds_one_trial_per_probe(storage: str) -> None:
    """Parameters, values, states and attributes; a diverged probe is a failed trial."""
    results = [result(0), result(1, status="diverged"), result(2, status="failed")]
    assert export_to_optuna(results, storage, "probes") == 3
    study = optuna.load_study(study_name="probes", storage=storage)
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "FAIL"]
    best = study.best_trial
    assert best.params == {"weight_decay": 0.1, "lr": 2e-3, "seed": 0}
    assert best.value == 2.3
    assert best.user_attrs == {
        "key": results[0].key,
        "task": "planted",
        "status": "done",
        "tau_run": pytest.approx(5000 / 2048),
        "tau_iters": pytest.approx(5000),
    }
    assert best.distributions["weight_decay"].log


def test_optuna_is_not_given_a_trial_twice(storage: str) -> None:
    """Exporting again adds what is new, and what succeeded after it had failed."""
    assert export_to_optuna([result(0), result(1, status="failed")], storage, "probes") == 2
    assert export_to_optuna([result(0), result(1), result(2)], storage, "probes") == 2
    assert export_to_optuna([result(0), result(1), result(2)], storage, "probes") == 0
    assert export_to_optuna([result(0)], storage, "another") == 1
    assert len(optuna.load_study(study_name="probes", storage=storage).trials) == 4


def test_an_optuna_study_goes_on_from_probes(storage: str) -> None:
    """A sampler suggests from the exported trials' own search space."""
    export_to_optuna([result(seed) for seed in range(12)], storage, "probes")
    study = optuna.load_study(study_name="probes", storage=storage, sampler=optuna.samplers.TPESampler(seed=0))
    trial = study.ask(study.trials[0].distributions)
    assert set(trial.params) == {"weight_decay", "lr", "seed"}


def test_a_storage_that_cannot_be_used_is_one_line(storage: str) -> None:
    """Without the URL, which may hold a password."""
    for url in ("nonsense", "sqlite:////no/such/folder/x.db", "postgresql://me:secret@localhost:1/db"):
        with pytest.raises(CalibrationError, match="Optuna storage cannot be used") as caught:
            export_to_optuna([result(0)], url, "probes")
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)
    optuna.create_study(storage=storage, study_name="up", direction="maximize")
    with pytest.raises(CalibrationError, match="'up' does not minimize"):
        export_to_optuna([result(0)], storage, "up")
