"""Results as people print them: what libraries print without JSON, what they leave in {run_dir}, and --metric-pattern.

The lines are recorded from the libraries themselves; the slow tests run them, in the versions that are installed.
"""

import json
import math
import re
import shlex
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from command_bench import PYTHON, SCRIPTS, WD, Bench
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import SpecError
from adamw_scale.training.commands import metric_pattern, run_dir
from adamw_scale.training.commands.metric_pattern import PatternSearch
from adamw_scale.training.commands.output import Printed
from adamw_scale.training.tasks.command import CommandTask
from adamw_scale.training.tasks.task import TaskSource

NANOGPT = """\
number of parameters: 0.03M
step 0: train loss 5.5531, val loss 5.5527
iter 0: loss 5.5487, time 31.17ms, mfu -100.00%
iter 10: loss 3.9412, time 11.20ms, mfu 0.02%
step 20: train loss 3.5121, val loss 3.6027
iter 20: loss 3.4998, time 25.90ms, mfu 0.02%
"""
TRAINER_4 = """\
{'loss': 4.866, 'grad_norm': 1.9256389141082764, 'learning_rate': 0.0013666666666666666, 'epoch': 0.62}
{'eval_loss': 3.9499130249023438, 'eval_runtime': 0.1566, 'eval_samples_per_second': 1634.975, 'epoch': 0.94}
{'loss': 3.537, 'grad_norm': 1.2684446573257446, 'learning_rate': 3.3333333333333335e-05, 'epoch': 1.88}
{'eval_loss': 3.633284568786621, 'eval_runtime': 0.1811, 'eval_samples_per_second': 1413.411, 'epoch': 1.88}
{'train_runtime': 2.3696, 'train_samples_per_second': 202.57, 'train_loss': 4.100663121541341, 'epoch': 1.88}
"""
TRAINER_5 = """\
{'loss': '4.866', 'grad_norm': '1.926', 'learning_rate': '0.001367', 'epoch': '0.625'}
{'eval_loss': '3.633', 'eval_runtime': '0.1811', 'eval_samples_per_second': '1413', 'epoch': '1.875'}
{'train_runtime': '2.37', 'train_samples_per_second': '202.6', 'train_loss': '4.101', 'epoch': '1.875'}
"""
BAR, BACK = "\x1b[32m━━━━━━━━━━━━━━━━━━━━\x1b[0m\x1b[37m\x1b[0m", "\b" * 40
KERAS = f"""\
Epoch 2/2
\r\x1b[1m1/4\x1b[0m {BAR} \x1b[1m0s\x1b[0m 20ms/step - loss: 8.3682 - mae: 2.7644{BACK}\r\x1b[1m4/4\x1b[0m {BAR} \
\x1b[1m0s\x1b[0m 16ms/step - loss: 8.1454 - mae: 2.7247 - val_loss: 8.1026 - val_mae: 2.7173
"""
KERAS_QUIET = """\
Epoch 1/2
4/4 - 0s - 10ms/step - loss: 8.0777 - mae: 2.7129 - val_loss: 8.0352e-01 - val_mae: 2.7055
4/4 - 0s - 9ms/step - loss: 8.0106 - mae: 2.7011
"""
LIGHTNING = """\
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃      Validate metric      ┃       DataLoader 0        ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│          val/acc          │            0.5            │
│         val_loss          │    0.33395618200302124    │
└───────────────────────────┴───────────────────────────┘
"""
LIGHTNING_PLAIN = """\
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
       Test metric             DataLoader 0
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
        test/loss           0.33395618200302124
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
"""


def printed(text: str, metric: str | None = None, pattern: str | None = None, errors: str = "") -> Printed:
    """What is understood of a command's output."""
    heard = Printed(metric, 100, lambda step, loss: None, pattern)
    heard.feed(text.encode())
    heard.overheard(errors.encode())
    heard.end()
    return heard


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        (NANOGPT, "val_loss", 3.6027),
        (NANOGPT + "step 30: train loss 3.5, val loss nan\n", "val_loss", pytest.approx(float("nan"), nan_ok=True)),
        (TRAINER_4, "eval_loss", 3.633284568786621),
        (TRAINER_5, "eval_loss", 3.633),
        ("{'eval_loss': nan, 'epoch': 1.0}\n", "eval_loss", pytest.approx(float("nan"), nan_ok=True)),
        ("{'loss': 7.968016624450684, 'mae': 2.69}\n", "loss", 7.968016624450684),  # of Keras' evaluate
        (KERAS, "val_loss", 8.1026),
        (KERAS_QUIET, "val_loss", 0.80352),
        (LIGHTNING, "val_loss", 0.33395618200302124),
        (LIGHTNING_PLAIN, "test_loss", 0.33395618200302124),
        ('{"val_loss": 9}\n' + NANOGPT, "val_loss", 9.0),
        ('{"loss": 9}\n' + LIGHTNING, "loss", 9.0),
        ('{"loss": 9, "step": 3}\n' + LIGHTNING, "val_loss", 0.33395618200302124),
    ],
)
def test_what_libraries_print(text: str, name: str, value: float) -> None:
    """The last held-out loss; a line of JSON goes before."""
    assert printed(text).measured()[:2] == (name, value)


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        (KERAS, "val_mae", 2.7173),
        (LIGHTNING, "val/acc", 0.5),
        (LIGHTNING, "val_acc", 0.5),
        (LIGHTNING_PLAIN, "test/loss", 0.33395618200302124),
        (LIGHTNING + LIGHTNING_PLAIN, "val_loss", 0.33395618200302124),
        (TRAINER_5, "eval_runtime", 0.1811),
        ('{"acc": 1}\n' + KERAS, "val_mae", 2.7173),
    ],
)
def test_a_named_metric_of_what_libraries_print(text: str, metric: str, value: float) -> None:
    """Whatever stands beside the loss; a slash may be a line below."""
    assert printed(text, metric).measured()[:2] == (metric, value)


@pytest.mark.parametrize(
    "text",
    [
        NANOGPT.replace("val loss", "dev loss"),
        "best val loss 3.2\nval_loss improved from inf to 0.12, saving model\n",
        TRAINER_4.replace("eval_", "check_"),
        "{'loss': 4.8, 'learning_rate': 0.001, 'epoch': 0.6}\n",
        KERAS.replace(" - val_loss: 8.1026 - val_mae: 2.7173", ""),
        "x {'eval_loss': 1}\n",
        "{'eval_loss': [1]}\n{'eval_loss': __import__('os')}\n{'eval_loss': 1\n{1, 2}\n",
        LIGHTNING.replace("DataLoader 0 ", "Loaders "),
        "│         val_loss          │    0.33395618200302124    │\n",
        "Metric  Value\n val_loss   3.2\n",
    ],
)
def test_what_is_no_result(text: str) -> None:
    """Losses of training, of other words and of tables of other things."""
    assert printed(text).measured()[1] is None


def test_two_held_out_losses_are_refused(bench: Bench) -> None:
    """Of validate() and of test(), or of Keras and a Trainer: which was meant is asked."""
    for text in (LIGHTNING + LIGHTNING_PLAIN, KERAS_QUIET + TRAINER_5):
        failed = bench.says(*text.splitlines())
        assert failed.status == "failed"
        assert "choose with --metric" in str(failed.reason)


def test_progress_and_divergence_are_heard_in_text(bench: Bench) -> None:
    """nanoGPT's losses are the curve where there is no JSON; a Trainer's NaN is a divergence."""
    result = bench.says(*NANOGPT.splitlines())
    assert result.curve == ((0, 5.5531), (10, 3.9412), (20, 3.5121))
    assert (result.status, result.loss, result.metrics["step"]) == ("done", 3.6027, 20.0)
    assert b"val_loss 3.6027 of a line of text" in bench.log.splitlines()[-1]
    dead = bench.says(*TRAINER_5.replace("'loss': '4.866'", "'loss': 'nan'").splitlines())
    assert dead.status == "diverged"


@given(st.text(max_size=200))
def test_any_line_is_borne(text: str) -> None:
    """Whatever it holds, before, within and after what is recognised."""
    lines = f"{text}\n{LIGHTNING.splitlines()[1]}\n{text}\n{{'{text}\n{text}step 1: train loss 1, val loss {text}\n"
    printed(lines).measured()
    assert printed(f"{lines}\n{LIGHTNING}").measured()[1] is not None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A command in an empty folder."""
    return Bench(tmp_path)


# --- in {run_dir}


def state(step: int, *log: dict[str, Any], most: int = 60) -> dict[str, Any]:
    """A Trainer's state."""
    return {"global_step": step, "max_steps": most, "log_history": list(log)}


def evaluated(step: int, loss: float) -> dict[str, Any]:
    """An evaluation as a Trainer logs it."""
    return {"eval_loss": loss, "epoch": 1.0, "step": step}


@pytest.mark.parametrize(
    ("files", "value"),
    [
        ({"": state(60, evaluated(30, 3.9), {"loss": 3.5, "step": 60}, evaluated(60, 3.633284568786621))}, 3.6332845),
        ({"checkpoint-30": state(30, evaluated(30, 9)), "checkpoint-60": state(60, evaluated(60, 3.5))}, 3.5),
        ({"": state(40, evaluated(40, 3.25))}, 3.25),  # stopped early, and saved
        ({"checkpoint-30": state(30, evaluated(30, 9))}, 3.633),
        ({"": state(60, evaluated(30, 9))}, 3.633),
        ({"": {"global_step": 60, "log_history": [{"eval_loss": 9}]}}, 3.633),
        ({"": {"global_step": 60, "log_history": "x"}}, 3.633),
    ],
)
def test_a_trainers_state_goes_before_its_text(bench: Bench, files: dict[str, Any], value: float) -> None:
    """It has all digits; but only one of the end, else the text is newer."""
    script = f"""
        import json, os, sys
        for folder, content in {files!r}.items():
            os.makedirs(os.path.join(sys.argv[2], folder), exist_ok=True)
            with open(os.path.join(sys.argv[2], folder, "trainer_state.json"), "w") as file:
                json.dump(content, file)
        print({TRAINER_5!r})
        """
    assert bench.run(bench.script(script) + " {run_dir}").loss == pytest.approx(value, abs=1e-7)


EVENTS = """
import sys
from torch.utils.tensorboard import SummaryWriter
for folder, values in (("old", (9.0, 8.0)), ("new", (4.0, 3.625))):
    with SummaryWriter(sys.argv[2] + "/" + folder) as writer:
        for step, value in enumerate(values):
            writer.add_scalar("eval/loss", value, step)
            writer.add_scalar("train/loss", 1.0, step)
print(sys.argv[3])
"""


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs tensorboard")
def test_event_files(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest scalar of each name, where nothing else has the metric; a line says what is missing."""
    (bench.folder / "events.py").write_text(EVENTS)
    line = f"{PYTHON} {shlex.quote(str(bench.folder / 'events.py'))} {{weight_decay}} {{run_dir}}"
    result = bench.run(f"{line} done")
    assert (result.status, result.loss) == ("done", 3.625), result.reason
    assert b"eval_loss 3.625 of an event file" in bench.log.splitlines()[-1]
    assert bench.run(line + """ '{{"val_loss": 2.5}}'""").loss == 2.5
    monkeypatch.setattr(run_dir, "find_spec", lambda name: None)
    assert "pip install tensorboard" in str(bench.run(f"{line} done").reason)
    monkeypatch.undo()
    monkeypatch.setattr(run_dir, "LARGEST_EVENTS", 10)
    assert "larger than" in str(bench.run(f"{line} done").reason)


def test_event_files_that_are_none(bench: Bench) -> None:
    """Rubbish under such a name is no result and no crash."""
    line = bench.script("import sys; open(sys.argv[2] + '/events.out.tfevents.1.x', 'wb').write(b'\\xff' * 999)")
    assert bench.run(f"{line} {{run_dir}}").status == "failed"


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs")
@pytest.mark.parametrize("left", ["trainer_state.json", "checkpoint-1/trainer_state.json", "events.out.tfevents.1"])
@pytest.mark.parametrize("kind", ["mkfifo", "mkdir", "ln -s nowhere", "ln -s /dev/zero", "ln -s /", "ln -s ."])
def test_what_is_no_file_is_not_read(bench: Bench, left: str, kind: str) -> None:
    """A pipe would be waited for for ever, and a device has no end; a link to a folder may be to everything."""
    line = f"sh -c {shlex.quote(f'cd {{run_dir}}; mkdir -p checkpoint-1; {kind} {left}; : {WD}')}"
    result = bench.run(line)
    assert result.status == "failed"
    assert "printed no line that is a JSON object" in str(result.reason)


def test_a_run_dir_that_holds_too_much_is_not_searched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a command puts a link to all of its data in the folder's place."""
    monkeypatch.setattr(run_dir, "MOST_FILES", 100)
    line = bench.script("import sys, pathlib; [pathlib.Path(sys.argv[2], str(x)).touch() for x in range(200)]")
    assert "its {run_dir} holds more than 100 files" in str(bench.run(f"{line} {{run_dir}}").reason)


# --- --metric-pattern


@pytest.mark.parametrize(
    ("text", "errors", "pattern", "value"),
    [
        ("loss 9 val loss 3.25\nval loss 2.5\n", "", "val loss ([0-9.]+)", 2.5),
        ("val loss 2.5", "", "val loss ([0-9.]+)", 2.5),
        ("val loss 2.5\n", "val loss 1.5\n", "val loss ([0-9.]+)", 1.5),
        ("a 1 a 2\n", "", "a (\\d)", 2.0),
        ("a 1\na x\n", "", "a(?: (\\d)| x)", 1.0),
        ("50%\rdev=3e-2\r\n", "", "dev=(\\S+)", 0.03),
        ("\x1b[1mdev\x1b[0m=3\n", "", "^dev=(.*)$", 3.0),
        ("Verlust: 3.5 \u00b1 0.1\n", "", "Verlust: ([0-9.]+) \u00b1", 3.5),
        ('{"val_loss": 9}\ndev 3\n', "", "dev (\\d)", 3.0),
        ("dev nan\n", "", "dev (\\S+)", pytest.approx(float("nan"), nan_ok=True)),
    ],
)
def test_a_pattern(text: str, errors: str, pattern: str, value: float) -> None:
    """The last match on either stream counts, whatever else is printed."""
    assert printed(text, pattern=pattern, errors=errors).measured() == ("loss", value, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("val loss 1.5\nval loss nan\n", math.nan),
        ("val loss 1.5\nval loss -inf\n", math.nan),
        ("val loss nan\nval loss 1.5\n", 1.5),
        ("val loss 1.5\ninformation: nan\n", 1.5),
        ("val loss 1.2e-05\n", 1.2e-05),
        ("val loss 1.2epochs\n", 1.2),
    ],
)
def test_a_pattern_of_digits_and_other_numbers(text: str, value: float) -> None:
    """A training that diverged is not told by an earlier evaluation, nor a small number by its first digits."""
    found = printed(text, pattern="val loss ([0-9.]+)").measured()[1]
    assert found == pytest.approx(value, rel=0, abs=0, nan_ok=True)


def test_a_pattern_in_pieces_of_any_size() -> None:
    """A line that comes in pieces, between those of the other stream, is one line."""
    search = PatternSearch("val ([0-9]+) end")
    for out, err in zip("x\nval 123 end\ny", "val 9\n e nd\nval", strict=False):
        search.feed("stdout", out.encode())
        search.feed("stderr", err.encode())
    search.end()
    assert search.last == "123"


def test_a_pattern_over_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A match of an earlier batch is kept where a later one has none."""
    monkeypatch.setattr(metric_pattern, "BATCH", 1000)
    assert printed("val 5\n" + "noise\n" * 1000, pattern="val (\\d)").measured()[1] == 5.0


@pytest.mark.parametrize(
    ("text", "pattern", "says"),
    [
        ("val 3\n", "loss (\\d)", "matched none of its lines"),
        ("val abc\n", "val (\\w+)", "found 'abc' last, which is no number"),
        ("x" * 5000 + " val 3\n", "val (\\d)", "matched none"),
    ],
)
def test_a_pattern_without_a_number(text: str, pattern: str, says: str) -> None:
    """One line says what it found; lines are searched up to 4 KiB."""
    said = printed(text, pattern=pattern)
    assert said.measured()[1] is None
    assert says in said.complaint()


def test_a_pattern_that_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, with whatever it computes, and named."""
    monkeypatch.setattr(metric_pattern, "SECONDS", 1)
    started = time.monotonic()
    said = printed("a" * 60 + "!\n", pattern="(?:a+)+(b)")
    assert time.monotonic() - started < 20
    assert said.measured()[1] is None
    assert "took more than" in said.complaint()


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("val (", "no regular expression"),
        ("val loss", "has 0 groups"),
        ("(val) (loss)", "has 2 groups"),
        ("(" * 500 + ")" * 500, "no regular expression"),
        ("(a{99999999999999})", "no regular expression"),
        ("(a)" + "b" * 1000, "Shorten it"),
        ("", "has 0 groups"),
    ],
)
def test_a_pattern_that_cannot_be_one(pattern: str, says: str) -> None:
    """Refused before anything runs, in one line."""
    with pytest.raises(SpecError, match=says) as refusal:
        CommandTask(TaskSource("command", None, {"command": "true {weight_decay}", "metric_pattern": pattern}))
    assert "\n" not in str(refusal.value)


def test_a_pattern_is_part_of_what_a_probe_is(bench: Bench) -> None:
    """Another pattern makes other probes; none leaves the identity as it was."""
    tasks = [bench.task("true {weight_decay}", **more) for more in ({}, {"metric_pattern": "a (b)"})]
    plain, named = (task.identity(task.default_run(RUN_OF_ONE)) for task in tasks)
    assert named == {**plain, "metric_pattern": "a (b)"}


def test_a_pattern_of_a_run(bench: Bench) -> None:
    """It is searched for in a real process, and what it finds may be maximised."""
    line = bench.script("import sys; print('acc=0.25'); print('acc=0.75', file=sys.stderr)")
    result = bench.run(line, metric_pattern="acc=([0-9.]+)", metric="acc", mode="max")
    assert (result.loss, result.metrics) == (-0.75, {"acc": 0.75})
    assert b"acc 0.75 of --metric-pattern" in bench.log.splitlines()[-1]


RUN_OF_ONE = {"unit": "samples", "dataset_size": 50_000, "batch_size": 128, "epochs": 4, "peak_lr": 1e-3}

# --- the libraries themselves

LIGHTNING_SCRIPT = """
import lightning, sys, torch
class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def loss(self, batch):
        return self.layer(batch[0]).square().mean()
    def training_step(self, batch, index):
        return self.loss(batch)
    def validation_step(self, batch, index):
        self.log("val_loss", self.loss(batch), prog_bar=True)
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2, weight_decay=float(sys.argv[1]))
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 4)), batch_size=4)
trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
module = Module()
trainer.fit(module, data, data)
(said,) = trainer.validate(module, data)
print("truth", said["val_loss"])
"""
KERAS_SCRIPT = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy
model = keras.Sequential([keras.layers.Dense(1)])
model.compile(keras.optimizers.AdamW(weight_decay=float(sys.argv[1])), "mse", metrics=["mae"])
x = numpy.ones((64, 4))
history = model.fit(x, x.sum(1, keepdims=True), epochs=2, validation_data=(x, x.sum(1, keepdims=True)))
print("truth", history.history["val_loss"][-1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("library", "script"), [("lightning", LIGHTNING_SCRIPT), ("keras", KERAS_SCRIPT)])
def test_a_real_run(bench: Bench, library: str, script: str) -> None:
    """What the installed version prints is what it measured, to the digits that it prints."""
    if find_spec(library) is None:
        pytest.skip(f"needs {library}")
    (bench.folder / "train.py").write_text(script)
    result = bench.run(f"{shlex.quote(sys.executable)} {shlex.quote(str(bench.folder / 'train.py'))} {{weight_decay}}")
    assert result.status == "done", result.reason
    truth = re.search(rb"truth (\S+)", bench.log)
    assert truth is not None
    assert result.loss == pytest.approx(float(truth[1]), abs=6e-5)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["{run_dir}", "elsewhere"])
def test_a_real_trainer(bench: Bench, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state, with all digits, where the folder is ours; else the dict that it prints."""
    if find_spec("transformers") is None:
        pytest.skip("needs transformers")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = (SCRIPTS / "hf_train.py").read_text()
    for old, new in (
        ('save_strategy="no"', 'save_strategy="no", eval_strategy="steps", eval_steps=20'),
        ("print(json.dumps(trainer.evaluate()))", "trainer.save_state()"),
    ):
        assert old in script
        script = script.replace(old, new)
    (bench.folder / "train.py").write_text(script)
    where = folder.replace("elsewhere", str(bench.folder / "elsewhere"))
    line = f"{PYTHON} {shlex.quote(str(bench.folder / 'train.py'))} --weight_decay {{weight_decay}} --max_steps 40"
    result = bench.run(f"{line} --output_dir {shlex.quote(where) if folder == 'elsewhere' else where}")
    assert result.status == "done", result.reason
    (file,) = bench.folder.rglob("trainer_state.json")
    truth = json.loads(file.read_bytes())["log_history"]
    last = [entry["eval_loss"] for entry in truth if "eval_loss" in entry][-1]
    assert result.loss == pytest.approx(last, rel=1e-12 if folder == "{run_dir}" else 1e-3)
