"""`audit --diff` and `--fix`: what is certain is written into the user's own text, and nothing else changes."""

import difflib
import json
import re
import shlex
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from walking import SUFFIX

from adamw_scale import TrainingRun, recommend
from adamw_scale.auditing import audit
from adamw_scale.auditing.mending import NUMBER, mended
from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

RUN: dict[str, Any] = {
    "dataset_size": 26e9,
    "batch_size": 2**19,
    "sequence_length": 2048,
    "num_params": 1.3e9,
    "peak_lr": 3e-4,
    "schedule": "cosine",
    "final_lr_fraction": 0.1,
    "warmup_fraction": 0.02,
}
SAID = {"tokens": "26B", "params": "1.3B", "batch_size": "524288", "sequence_length": "2048", "schedule": "cosine"}
WRONG = "0.0123"
BY_GROUP = {"optax", "keras"}  # whose decay is in code that makes a mask


def changed(before: str, after: str) -> list[tuple[str, str]]:
    """Pairs of lines that differ."""
    marks = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False).get_opcodes()
    assert {mark[0] for mark in marks} <= {"equal", "replace"}
    pairs = []
    for _, a, b, c, d in (mark for mark in marks if mark[0] == "replace"):
        pairs += list(zip(before.splitlines()[a:b], after.splitlines()[c:d], strict=True))
    return pairs


@pytest.mark.parametrize("framework", [name for name, part in FRAMEWORKS.items() if part.reads and part.emits])
def test_a_wrong_weight_decay_becomes_the_recommended_one(framework: str) -> None:
    """In what `emit` writes for every framework: lines change in that one number, and a second time nothing does."""
    advice = recommend(TrainingRun(**RUN))
    snippet = emit(framework, advice)
    read = partial(audit, framework=framework, suffix=SUFFIX[snippet.language], **SAID)
    own = read(snippet.text)
    written = own.groups[0].written
    if written is None or own.recommended is None:
        pytest.skip(f"{framework}: its snippet alone does not say what decays in which run")
    spelled = {match[0] for match in NUMBER.finditer(snippet.text) if float(match[0].replace("_", "")) == written}
    spoiled = snippet.text
    for each in spelled:
        spoiled = re.sub(rf"(?<![\w.]){re.escape(each)}(?![\w.])", WRONG, spoiled)
    assert read(spoiled).groups[0].written == float(WRONG)
    done = mended(spoiled, read, to_recommendation=True)
    after = done.audit.groups[0].written
    assert after == pytest.approx(own.recommended, rel=5e-3)
    assert done.audit.recommended == pytest.approx(after, rel=5e-3)
    new = f"{own.recommended:.3g}"
    pairs = changed(spoiled, done.text)
    assert pairs
    assert all(one.replace(WRONG, new) == other for one, other in pairs)
    assert [(each.before, each.after) for each in done.changes] == pairs
    again = mended(done.text, read, to_recommendation=True)
    assert (again.text, again.changes) == (done.text, ())


YAML = """\
# mine
learning_rate: 2.0e-4   # peak
num_train_epochs: 1
max_steps: 50000
per_device_train_batch_size: 8
lr_scheduler_type: cosine
output_dir: out
"""
LAUNCH = (
    "#!/bin/bash\nWD=${WD:-0.1}  # mine\ntorchrun pretrain_gpt.py --lr 3e-4 --weight-decay $WD \\\n  --min-lr 3e-5 "
)
LAUNCH += "--lr-decay-style cosine --train-iters 50000 --global-batch-size 256 --seq-length 2048\n"
CALL = (
    'from transformers import TrainingArguments\nargs = TrainingArguments(output_dir="x", learning_rate=2e-4, '
    'max_steps=50000, per_device_train_batch_size=8, lr_scheduler_type="cosine")\n'
)
SHELL = (
    "python run_clm.py --output_dir x --learning_rate 2e-4 --max_steps 50000 --per_device_train_batch_size 8 "
    "--lr_scheduler_type cosine"
)
WHERE = {"devices": 8, "sequence_length": "2048", "params": "300M", "tokens": "6.5536B"}


@pytest.mark.parametrize(
    ("text", "suffix", "line"),
    [
        (YAML, ".yaml", "weight_decay: 0.1"),
        (json.dumps({"learning_rate": 2e-4, "max_steps": 50000, "per_device_train_batch_size": 8,
                     "lr_scheduler_type": "cosine", "output_dir": "x"}, indent=1), ".json", ' "weight_decay": 0.1,'),
        (CALL, ".py", "learning_rate=2e-4, weight_decay=0.1, max_steps"),
        (CALL.replace(", ", ",\n    "), ".py", "    weight_decay=0.1,"),
        (SHELL, ".sh", "--learning_rate 2e-4 --weight_decay 0.1 --max_steps"),
    ],
    ids=["yaml", "json", "one line of Python", "lines of Python", "shell"],
)  # fmt: skip
def test_a_weight_decay_that_is_not_there_is_put_beside_the_learning_rate(text: str, suffix: str, line: str) -> None:
    """In the words and the layout of the text itself."""
    read = partial(audit, framework="huggingface", suffix=suffix, **WHERE)
    done = mended(text, read, to_recommendation=True)
    new = f"{done.audit.recommended:.3g}"
    assert line.replace("0.1", new) in done.text
    assert done.audit.groups[0].written == float(new)
    kept = done.text.splitlines()
    assert [each for each in text.splitlines() if each in kept or "learning_rate=2e-4" in each or "--learning" in each]


def test_a_misspelled_key_is_renamed() -> None:
    """It is the reader that says what is certain."""
    text = "learning_rate = 6e-4\nbeta_2 = 0.95\nmax_iters = 999\nlr_decay_iters = 999\nwarmup_iters = 10\n"
    done = mended(text.replace("max_iters", "max_steps"), partial(audit, framework="nanogpt", suffix=".py"))
    assert [each.after for each in done.changes] == ["max_iters = 999"]
    assert not any(each.code == "unknown-key" for each in done.audit.findings)


@pytest.mark.parametrize(
    ("framework", "before", "after"),
    [
        ("axolotl", "learning_rate: 2e-4\nlr_div_factor: 10\nmicro_batch_size: 2\n", "micro_batch_size: 2\n"),
        (
            "trl",
            "learning_rate: 2e-4\nmax_seq_length: 512  # tokens\noutput_dir: x\n",
            "max_length: 512  # tokens\noutput_dir: x\n",
        ),
        (
            "litgpt",
            "train:\n  epochs: 3\n  min_lr: 1e-5\n  global_batch_size: 8\n",
            "  global_batch_size: 8\n",
        ),
    ],
)
def test_a_key_that_does_nothing_goes_and_one_of_another_name_is_renamed(
    framework: str, before: str, after: str
) -> None:
    """What comes before it stays, byte for byte."""
    done = mended(before, partial(audit, framework=framework, suffix=".yaml"))
    assert done.text.endswith(after)
    assert before.startswith(done.text[: -len(after)])
    assert len(done.changes) == 1
    assert not any(each.code in ("ignored-key", "removed-key") and each.mend for each in done.audit.findings)


def test_what_cannot_be_found_is_left_alone() -> None:
    """A product is no single number; the value to write is in the message."""
    text = "learning_rate = 6e-4\nweight_decay = 0.2 * 0.5\nmax_iters = 9999\nbatch_size = 8\nblock_size = 1024\n"
    read = partial(audit, framework="nanogpt", suffix=".py", params="100M", tokens="1B")
    with pytest.raises(SpecError, match="no single number in the text is its weight decay and nothing else; write"):
        mended(text, read, to_recommendation=True)


def test_a_run_that_is_not_known_has_no_recommendation() -> None:
    """It says what to add."""
    with pytest.raises(SpecError, match="nothing is recommended, as the run is not known: pass --"):
        mended(
            "learning_rate: 2e-4\noutput_dir: x\n",
            partial(audit, framework="huggingface", suffix=".yaml"),
            to_recommendation=True,
        )


RATES = """from torch.optim import AdamW
groups = [
    {"params": [p for n, p in model.named_parameters() if "bias" not in n], "weight_decay_rate": 0.1},  # matrices
    {'params': [p for n, p in model.named_parameters() if "bias" in n], 'weight_decay_rate': 0.0},
]
optimizer = AdamW(groups, lr=2e-5)
"""


def test_a_key_that_no_group_has_is_renamed_in_all_of_them() -> None:
    """torch keeps what it does not know of a group, and all decay by its default; where code reads it, it stays."""
    done = mended(RATES, partial(audit, suffix=".py"))
    assert done.text == RATES.replace("weight_decay_rate", "weight_decay")
    written = {each.group: each.written for each in done.audit.groups}
    assert (written["hidden"], written["norm-and-bias"]) == (0.1, 0.0)
    assert not done.audit.failed
    read = RATES + 'print(groups[0]["weight_decay_rate"])\n'
    assert audit(read, suffix=".py").failed
    assert mended(read, partial(audit, suffix=".py")).changes == ()


def test_the_command_line(adamw_scale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--diff shows what --fix does; `patch` takes it; the file keeps its mode, a backup its old content."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "launch.sh"
    file.write_text(LAUNCH)
    file.chmod(0o755)
    asked = ["audit", "launch.sh", "--params", "1.3B", "--to-recommendation"]
    shown = adamw_scale(*asked, "--diff")
    assert file.read_text() == LAUNCH
    assert sum(line.startswith("+") for line in shown.out.splitlines()) == 2
    copy = tmp_path / "copy.sh"
    copy.write_text(LAUNCH)
    subprocess.run(["patch", str(copy)], input=shown.out + "\n", text=True, check=True, capture_output=True)
    written = adamw_scale(*asked, "--fix")
    assert "launch.sh is changed; as it was it is in launch.sh.bak" in written.err
    assert (file.read_text(), (tmp_path / "launch.sh.bak").read_text()) == (copy.read_text(), LAUNCH)
    assert file.stat().st_mode & 0o777 == 0o755
    again = adamw_scale(*asked, "--fix")
    assert (again.out, "nothing to change" in again.err) == ("", True)
    assert not (tmp_path / "launch.sh.bak1").exists()
    document = json.loads(
        adamw_scale("audit", "launch.sh.bak", "--framework", "megatron", *asked[2:], "--diff", "--json").out
    )
    assert document["schema"] == "adamw-scale/mended/1"
    assert document["text"] == copy.read_text()


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_bytes_stay(adamw_scale: Command, tmp_path: Path, ends: str, mark: str) -> None:
    """Line ends and a byte order mark, too."""
    file = tmp_path / "train.yaml"
    before = (mark + YAML.replace("\n", ends)).encode()
    file.write_bytes(before)
    options = ["--framework", "huggingface", "--devices", "8", "--sequence-length", "2048", "--params", "300M"]
    adamw_scale("audit", str(file), *options, "--tokens", "6.5536B", "--fix", "--to-recommendation")
    after = file.read_bytes()
    (new,) = [line for line in after.split(b"\n") if line.startswith(b"weight_decay: ")]
    assert after.replace(new + b"\n", b"", 1) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-", "--fix"], "stdin is none"),
        (["x.yaml", "--to-recommendation"], "is for --diff or --fix"),
        (["x.yaml", "--diff", "--format", "sarif"], "is for findings"),
        (["--fix", "--", "true"], "change a file: name it instead of a command"),
    ],
)
def test_what_cannot_be_asked(adamw_scale: Command, options: list[str], said: str) -> None:
    """One line, exit 2."""
    outcome = adamw_scale("audit", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err


@pytest.mark.parametrize(
    ("framework", "text"),
    [
        ("megatron", "torchrun pretrain_gpt.py --lr 6e-4 --train-iters 9000 --global-batch-size 256 --seq-length 2048"),
        ("timm", "python train.py /data --opt adamw --lr 1e-3 --epochs 90 --batch-size 256 --warmup-epochs 5"),
    ],
)
def test_a_key_is_written_as_its_command_line_takes_it(framework: str, text: str) -> None:
    """With dashes where argparse has them, and never the start of a schedule that there is none of."""
    where = {"tokens": "6B", "params": "300M", "sequence_length": "2048", "schedule": "cosine", "devices": 1}
    done = mended(f"{text}\n", partial(audit, framework=framework, suffix=".sh", **where), to_recommendation=True)
    assert re.search(r"--lr \S+ --weight-decay [\d.]+ --", done.text), done.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("AdamW([{'params': decay, 'weight_decay': WD}], lr=3e-4)\nnn.Dropout(WD)", "and nothing else; write"),
        ("Adam(m.parameters(), lr=3e-4, weight_decay=WD)", "added to the gradient"),
    ],
)
def test_what_is_not_the_weight_decay_alone_is_not_written(text: str, said: str) -> None:
    """A constant that dropout has too, and the L2 coefficient of an Adam."""
    read = partial(audit, suffix=".py", schedule="cosine", batch_size="0.5M", **WHERE)
    with pytest.raises(SpecError, match=said):
        mended(f"from torch.optim import Adam, AdamW\nWD = 0.1\nopt = {text}\n", read, to_recommendation=True)


TORCH = (
    "import torch\nmodel = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8))\n"
    "decay = [p for p in model.parameters() if p.ndim > 1]\nno_decay = [p for p in model.parameters() if p.ndim < 2]\n"
    "optimizer = torch.optim.AdamW(\n"
    '    [{"params": decay, "weight_decay": 0.0123}, {"params": no_decay, "weight_decay": 0.0}], lr=2e-4\n)\n'
)


@pytest.mark.parametrize(
    ("framework", "text", "suffix"),
    [("huggingface", CALL, ".py"), ("huggingface", SHELL, ".sh"), ("pytorch", TORCH, ".py")],
)
def test_the_library_itself_has_what_is_written(
    framework: str, text: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built by transformers and torch from the mended text, for what decays and what does not."""
    pytest.importorskip("transformers" if framework == "huggingface" else "torch")
    monkeypatch.chdir(tmp_path)
    said = WHERE if framework == "huggingface" else {**WHERE, "batch_size": "131072", "schedule": "cosine"}
    done = mended(text, partial(audit, framework=framework, suffix=suffix, **said), to_recommendation=True)
    new = float(f"{done.audit.recommended:.3g}")
    if suffix == ".sh":
        transformers = pytest.importorskip("transformers")
        words = shlex.split(done.text)[2:]
        (arguments,) = transformers.HfArgumentParser(transformers.TrainingArguments).parse_args_into_dataclasses(words)
        assert arguments.weight_decay == new
        return
    names: dict[str, Any] = {}
    exec(done.text, names)  # this test's own text
    if framework == "huggingface":
        assert names["args"].weight_decay == new
    else:
        assert [group["weight_decay"] for group in names["optimizer"].param_groups] == [new, 0.0]
