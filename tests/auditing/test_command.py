"""adamw-scale audit: formats, exit status, and configs that nobody should hand in."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Command

OVERRIDDEN = (
    "python pretrain_gpt.py \\\n  --lr 1e-3 --weight-decay 0.1 \\\n  --start-weight-decay 0.033 --end-weight-decay "
    "0.033 \\\n"
    "  --train-iters 1000 --lr-decay-style cosine --global-batch-size 64 --seq-length 1024\n"
)
SOUND = (
    "learning_rate: 3e-4\nweight_decay: 0.3\nper_device_train_batch_size: 8\nmax_steps: 49592\nlr_scheduler_type: "
    "linear\n"
)


@pytest.fixture
def overridden(tmp_path: Path) -> str:
    """A launch script with one error."""
    file = tmp_path / "launch.sh"
    file.write_text(OVERRIDDEN)
    return str(file)


def test_an_error_is_exit_status_1(adamw_scale: Command, overridden: str) -> None:
    """So that it can stand in a CI."""
    outcome = adamw_scale("audit", overridden)
    assert outcome.code == 1
    assert "decay-overridden" in outcome.out
    assert outcome.err == ""


def test_github_annotations_stand_on_the_line(adamw_scale: Command, overridden: str) -> None:
    """GitHub reads workflow commands off the log."""
    first = adamw_scale("audit", overridden, "--format", "github").out.splitlines()[0]
    assert first.startswith(f"::error file={overridden},line=3,title=decay-overridden::weight_decay 0.1 is never used")


def test_sarif_is_complete(adamw_scale: Command, overridden: str) -> None:
    """What code scanning needs: version, driver, rules, level, place."""
    document = json.loads(adamw_scale("audit", overridden, "--format", "sarif").out)
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    assert run["tool"]["driver"]["name"] == "adamw-scale"
    result = run["results"][0]
    assert (result["ruleId"], result["level"]) == ("decay-overridden", "error")
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {each["ruleId"] for each in run["results"]}
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == overridden
    assert place["region"]["startLine"] == 3


def test_json_follows_the_schema(adamw_scale: Command, overridden: str) -> None:
    """Names and places of the document."""
    document = json.loads(adamw_scale("audit", overridden, "--json", "--params", "125M").out)
    assert document["schema"] == "adamw-scale/audit/1"
    assert document["framework"] == "megatron"
    assert document["run"]["peak_lr"] == 1e-3
    assert document["timescale"]["iters"] == pytest.approx(1 / 3.3e-5)
    assert document["recommendation"]["schema"] == "adamw-scale/recommendation/2"
    assert {"code", "severity", "message", "fix"} <= set(document["findings"][0])


def test_what_is_missing_is_asked_for(adamw_scale: Command, tmp_path: Path) -> None:
    """And a complete command gives a recommendation."""
    file = tmp_path / "train.yaml"
    file.write_text(SOUND)
    assert "--tokens or --samples" in adamw_scale("audit", str(file)).out
    asked = adamw_scale("audit", str(file), "--tokens", "26B").out
    assert "--devices" in asked
    assert "--sequence-length" in asked
    options = ["--tokens", "26B", "--devices", "64", "--sequence-length", "1024", "--params", "1.3B"]
    document = json.loads(adamw_scale("audit", str(file), "--json", *options).out)
    assert document["recommendation"]["rule"] == "law"
    assert document["run"]["batch_size"] == 64 * 8 * 1024
    assert "asks" not in document or not document["asks"]


def test_options_override_the_config(adamw_scale: Command, tmp_path: Path) -> None:
    """Learning rate, schedule, weight decay and its convention."""
    file = tmp_path / "train.yaml"
    file.write_text(SOUND)
    said = ["--lr", "1e-3", "--weight-decay", "0.2", "--schedule", "wsd", "--steps", "1000", "--warmup", "100"]
    document = json.loads(adamw_scale("audit", str(file), "--json", "--samples", "1M", "--devices", "1", *said).out)
    assert document["timescale"]["iters"] == pytest.approx(5000)
    assert (document["run"]["schedule"], document["run"]["warmup_steps"]) == ("wsd", 100)
    assert document["run"]["epochs"] == pytest.approx(0.008)
    unit = json.loads(adamw_scale("audit", str(file), "--json", "--convention", "composer").out)
    assert [each["code"] for each in unit["findings"] if each["severity"] == "error"] == ["wrong-unit"]


def test_a_stranger_is_told_how_to_name_the_framework(adamw_scale: Command, tmp_path: Path) -> None:
    """A config that shows no framework's keys."""
    file = tmp_path / "train.yaml"
    file.write_text("foo: 1\n")
    outcome = adamw_scale("audit", str(file))
    assert outcome.code == 2
    assert "--framework" in outcome.err
    assert adamw_scale("audit", str(file), "--framework", "huggingfac").err.count("did you mean 'huggingface'") == 1
    assert adamw_scale("audit", str(file), "--format", "xml").code == 2


BAD = {
    "empty.yaml": b"",
    "truncated.json": b'{"optimizer": {"type": "AdamW", "params": {',
    "types.yaml": b"learning_rate: [1, 2]\nper_device_train_batch_size: 8\n",
    "words.yaml": b"learning_rate: fast\nper_device_train_batch_size: 8\n",
    "infinite.yaml": b"learning_rate: .inf\nper_device_train_batch_size: 8\n",
    "negative.yaml": b"learning_rate: -1e-3\nper_device_train_batch_size: 8\n",
    "huge.yaml": b"learning_rate: 1e999\nper_device_train_batch_size: 8\n",
    "bomb.yaml": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c {%s}\n" % (c, c, b",".join(b"k%d: *%c" % (n, c - 1) for n in range(9))) for c in b"bcdefghij"),
    "merges.yaml": b"a: &a {x: 1}\n"
    + b"".join(b"%c: &%c\n  <<: [*%c, *%c]\n" % (c, c, c - 1, c - 1) for c in b"bcdefghij"),
    "latin.yaml": "learning_rate: 1é".encode("latin-1"),
    "object.yaml": b"a: !!python/object/apply:os.system ['touch /nowhere/pwned']\n",
    "deep.yaml": b"[" * 10_000,
    "deep.json": b'{"a":' * 10_000,
    "deep.py": b"x = " + b"[" * 10_000,
    "deep.toml": b"a." * 10_000 + b"a = 1",
    "indented.yaml": b"".join(b" " * n + b"a:\n" for n in range(2000))[:200_000],
    "chain.py": b"x = 1" + b"+1" * 100_000,
    "wide.json": b'{"a": [' + b"1," * 100_000 + b"1]}",
    "wide.yaml": b"a: [" + b"1," * 100_000 + b"1]",
    "quotes.sh": b"python train.py --lr '" + b"x" * 100_000,
    "binary.yaml": bytes(range(256)) * 10,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_configs_are_one_line(adamw_scale: Command, tmp_path: Path, name: str) -> None:
    """Exit 2, one line, and quick."""
    file = tmp_path / name
    file.write_bytes(BAD[name])
    started = time.process_time()
    outcome = adamw_scale(
        "audit", str(file), *(["--framework", "huggingface"] if b"learning_rate" in BAD[name] else [])
    )
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome.err
    assert time.process_time() - started < 10  # seconds of a loaded machine; alone it takes under two


@pytest.mark.parametrize("name", ["large.yaml", "large.json", "large.py", "bomb.yaml"])
def test_memory_is_bounded(tmp_path: Path, name: str) -> None:
    """100 MB are refused without being read, and a bomb does not go off: under 400 MB of addresses beyond the start."""
    file = tmp_path / name
    if name in BAD:
        file.write_bytes(BAD[name])
    else:
        with file.open("wb") as out:
            for _ in range(100):
                out.write(b"a: 1\n" * 200_000)
    code = (
        "import resource, sys\n"
        "from adamw_scale.cli import main\n"
        "import adamw_scale.auditing, yaml\n"
        "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + 400 * 2**20,) * 2)\n"
        f"sys.argv = ['adamw-scale', 'audit', {str(file)!r}]\n"
        "main.run()\n"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (outcome.returncode, outcome.stdout, outcome.stderr.count("\n")) == (2, "", 1), outcome.stderr


def test_a_variable_is_not_zero(adamw_scale: Command, tmp_path: Path) -> None:
    """What the file leaves to a variable is asked for, and neither 0 nor a default."""
    file = tmp_path / "run.sh"
    file.write_text(
        "torchrun pretrain_gpt.py --lr 3e-4 --weight-decay $WD --train-iters 1000 --lr-decay-style cosine\n"
    )
    outcome = adamw_scale("audit", str(file))
    assert "--weight-decay" in outcome.out
    assert "nothing decays" not in outcome.out
    said = json.loads(adamw_scale("audit", str(file), "--json", "--weight-decay", "0.1").out)
    assert said["timescale"]["iters"] == pytest.approx(1 / 3e-5)


HALF_KNOWN = (
    "torchrun pretrain_gpt.py --lr $LR --weight-decay $WD --lr-decay-style $STYLE --train-iters 1000 "
    "--global-batch-size 8\n"
)


@pytest.mark.parametrize(
    ("option", "answered"),
    [
        (("--lr", "3e-4"), "lr"),
        (("--weight-decay", "0.1"), "weight_decay"),
        (("--schedule", "cosine"), "lr_decay_style"),
    ],
)
def test_an_option_silences_the_note_that_it_answers_and_no_other(
    adamw_scale: Command, tmp_path: Path, option: tuple[str, str], answered: str
) -> None:
    """What the file leaves to variables stays noted until it is said."""
    file = tmp_path / "run.sh"
    file.write_text(HALF_KNOWN)
    open_ = {"lr", "weight_decay", "lr_decay_style"}
    for said, left in (((), open_), (option, open_ - {answered})):
        document = json.loads(adamw_scale("audit", str(file), "--json", *said).out)
        assert {each["key"] for each in document["findings"] if each["code"] == "unread-value"} == left


def test_what_is_said_takes_the_place_of_what_is_not_read(adamw_scale: Command, tmp_path: Path) -> None:
    """Learning rate and weight decay make a timescale, though the run is not known."""
    file = tmp_path / "run.sh"
    file.write_text(HALF_KNOWN)
    said = json.loads(adamw_scale("audit", str(file), "--json", "--lr", "1e-3", "--weight-decay", "0.1").out)
    assert said["timescale"]["iters"] == pytest.approx(10_000)


@pytest.mark.parametrize(
    "option",
    ["--weight-decay=-0.1", "--weight-decay=1e-320", "--weight-decay=1e300", "--lr=-1", "--lr=1e-320", "--devices=-3"],
)
def test_an_impossible_option_is_named(adamw_scale: Command, overridden: str, option: str) -> None:
    """One line with the flag; no traceback and no negative timescale."""
    outcome = adamw_scale("audit", overridden, option)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert option.partition("=")[0] in outcome.err


def test_commands_in_a_docstring_make_no_shell_script(adamw_scale: Command, tmp_path: Path) -> None:
    """The suffix says what a file is."""
    file = tmp_path / "train.py"
    file.write_text(
        '"""Trains a model.\n\n    python train.py --lr 1e-3\n    python train.py --lr 3e-4 --don\'t-stop\n"""\n'
        "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)\n"
    )
    document = json.loads(adamw_scale("audit", str(file), "--json").out)
    assert document["framework"] == "pytorch"
    assert document["timescale"]["iters"] == pytest.approx(10_000)


@pytest.mark.parametrize("framework", ["megatron", "huggingface", "timm", "nemo-automodel", "levanter", "axolotl"])
def test_a_framework_of_which_no_key_is_there_is_refused(adamw_scale: Command, tmp_path: Path, framework: str) -> None:
    """An audit that read nothing has nothing to say."""
    file = tmp_path / "train.yaml"
    file.write_text("adam_weight_decay: 0.1\nadam_b1: 0.9\nlr_schedule_type: cosine\n")
    outcome = adamw_scale("audit", str(file), "--framework", framework)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "--framework" in outcome.err
    assert adamw_scale("audit", str(file), "--framework", "maxtext").code == 0


def test_a_terminal_is_told_nothing(adamw_scale: Command, tmp_path: Path) -> None:
    """Escape sequences of a config do not reach it, and file names are written so that they can be read back."""
    file = tmp_path / "a b%\x1b[31m.sh"
    file.write_text("train.py --lr 3e-4 --adam-eps '1\x1b[31m' --train-iters 1000 --lr-decay-style cosine\n")
    outcome = adamw_scale("audit", str(file))
    assert outcome.code == 2
    assert "\x1b" not in outcome.err + outcome.out
    file.write_text(OVERRIDDEN)
    assert "\x1b" not in adamw_scale("audit", str(file), "--format", "github").out
    assert "a%20b%25" in adamw_scale("audit", str(file), "--format", "sarif").out


def test_stdin_is_a_file_too(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads a pipe."""
    import io

    class Stdin:
        buffer = io.BytesIO(OVERRIDDEN.encode())

    monkeypatch.setattr("sys.stdin", Stdin())
    assert adamw_scale("audit", "-").code == 1


def test_recommend_emits_what_audit_reads(adamw_scale: Command, tmp_path: Path) -> None:
    """recommend --emit writes what emit writes, and its audit finds nothing to change."""
    options = [
        "--params",
        "1.3B",
        "--tokens",
        "26B",
        "--batch-size",
        "524288",
        "--sequence-length",
        "2048",
        "--lr",
        "3e-4",
    ]
    snippet = adamw_scale("recommend", "--emit", "megatron", *options).out
    assert snippet == adamw_scale("emit", "megatron", *options).out
    file = tmp_path / "args.sh"
    file.write_text(snippet)
    document = json.loads(adamw_scale("audit", str(file), "--json", "--params", "1.3B").out)
    assert {finding["severity"] for finding in document["findings"]} <= {"note"}
