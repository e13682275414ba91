"""Real trainings, as they are, watched from outside: what is said of them is what they say of themselves."""

import importlib.util
import json
import sysconfig
from pathlib import Path

import pytest
from conftest import Command
from watching_bench import PYTHON, Watch, watching

TORCHRUN = (str(Path(sysconfig.get_path("scripts")) / "torchrun"), "--nproc-per-node", "2")


@pytest.fixture
def watch(adamw_scale: Command, tmp_path: Path) -> Watch:
    """Audit a script."""
    return watching(adamw_scale, tmp_path)


def test_a_plain_script(watch: Watch) -> None:
    """Its optimizer, groups, every learning rate, and the rest of a schedule that is a lambda."""
    seen = watch("plain.py", options=("--steps-total", "40"))
    seen.agrees()
    (optimizer,) = seen.document["optimizers"]
    (group,) = optimizer["groups"]
    assert (seen.code, seen.document["stopped"], optimizer["steps"]) == (0, True, 20)
    assert (optimizer["name"], optimizer["convention"], optimizer["known_by"]) == ("AdamW", "pytorch", "class")
    assert len(seen.truth) == 20  # not a step more
    ahead = [value for _, value in group["lrs_ahead"]]
    assert ahead == pytest.approx([3e-3 * (1 - step / 40) for step in range(20, 40)], rel=1e-6)
    roles = {role: (row["tensors"], row["weights"]) for role, row in group["roles"].items()}
    assert roles == {"embedding": (1, 800), "hidden": (1, 2048), "output": (1, 1600), "norm-and-bias": (4, 146)}
    assert group["roles"]["norm-and-bias"]["names"] == ["2.bias", "3.weight", "3.bias", "4.bias"]
    assert group["measured"] == pytest.approx(0.1, rel=1e-3)
    assert group["timescale"]["iters"] == pytest.approx(1 / (0.1 * 2.7e-3))
    assert seen.codes["decay-on-norms"] == "warning"
    assert "3.weight" in seen.message("decay-on-norms")
    assert "interrupted after 20 optimizer steps" in seen.err


def test_what_the_run_is_makes_it_a_recommendation(watch: Watch) -> None:
    """In the words of the flags, with the learning rates that were read."""
    options = ("--steps-total", "5000", "--params", "125M", "--sequences", "512", "--sequence-length", "1024")
    document = watch("plain.py", "--steps", "5000", options=options).document
    assert document["run"]["peak_lr"] == pytest.approx(3e-3 * (1 - 4 / 5000))
    assert document["run"]["dataset_size"] == 5000 * 512 * 1024
    assert document["run"]["schedule"] == "linear"
    assert document["recommendation"]["schema"].startswith("adamw-scale/recommendation/")
    assert not document["asks"]


def test_nanogpt_style(watch: Watch) -> None:
    """Two groups, learning rates set by hand, a tied output; to the end."""
    seen = watch("nanogpt_style.py", options=("--whole",))
    seen.agrees()
    (optimizer,) = seen.document["optimizers"]
    decayed, spared = optimizer["groups"]
    assert (optimizer["steps"], optimizer["total_steps"], seen.document["stopped"]) == (40, 40.0, False)
    assert decayed["roles"]["embedding"]["names"] == ["transformer.wte.weight"]
    assert decayed["roles"]["hidden"]["tensors"] == 4
    assert list(spared["roles"]) == ["norm-and-bias"]
    assert (decayed["measured"], spared["measured"]) == (pytest.approx(0.1, rel=1e-3), 0)
    assert "decay-on-norms" not in seen.codes


def test_two_optimizers_of_a_gan(watch: Watch) -> None:
    """Both are told apart, and each has its own steps."""
    seen = watch("two_optimizers.py", "gan")
    seen.agrees(0, 0)
    seen.agrees(1, 1)
    assert [optimizer["steps"] for optimizer in seen.document["optimizers"]] == [20, 10]


def test_muon_beside_adamw(watch: Watch) -> None:
    """An optimizer that nobody knows is assumed to be as PyTorch's, and this is said."""
    seen = watch("two_optimizers.py", "muon")
    seen.agrees(0, 0)
    seen.agrees(1, 1)
    muon, adamw = seen.document["optimizers"]
    assert (muon["name"], muon["known_by"]) == ("Muon", "assumption")
    assert (adamw["name"], adamw["known_by"]) == ("AdamW", "class")
    assert any(line.startswith("Muon: what a step takes") for line in seen.document["unseen"])


@pytest.mark.slow
def test_the_trainer_of_hugging_face(watch: Watch) -> None:
    """Its groups and its schedule to the end, which its own state knows the length of."""
    seen = watch("hf_trainer.py")
    seen.agrees()
    (optimizer,) = seen.document["optimizers"]
    assert (optimizer["total_steps"], optimizer["total_steps_from"]) == (32.0, "the Trainer's max_steps")
    ahead = optimizer["groups"][0]["lrs_ahead"]
    assert (ahead[0][0], ahead[-1][0]) == (21, 32)
    assert {group["written"] for group in optimizer["groups"]} == {0.05, 0.0}
    assert not {"decay-on-norms", "arguments-void", "doubled"} & seen.codes.keys()


@pytest.mark.slow
def test_what_is_wrong_in_a_trainer(watch: Watch) -> None:
    """An optimizer that is passed makes TrainingArguments void; a callback decays once more."""
    seen = watch("hf_trainer.py", "optimizers")
    seen.agrees()
    assert "weight_decay 0.05 of TrainingArguments acts on nothing" in seen.message("arguments-void")
    seen = watch("hf_trainer.py", "doubled")
    assert seen.code == 1
    assert seen.codes["doubled"] == "error"
    assert "arguments-void" not in seen.codes


@pytest.mark.slow
def test_a_trainer_that_is_subclassed(watch: Watch) -> None:
    """Groups of its own, of which each keeps its learning rate under the Trainer's schedule."""
    seen = watch("hf_trainer.py", "subclassed")
    seen.agrees()
    rest, spared, faster = seen.document["optimizers"][0]["groups"]
    assert [group["peak_lr"] for group in (rest, spared, faster)] == pytest.approx([1e-3, 1e-3, 1e-2])
    assert faster["roles"]["output"]["names"] == ["head.weight"]
    assert faster["lrs_ahead"][0][1] == pytest.approx(10 * rest["lrs_ahead"][0][1])
    assert (rest["written"], spared["written"], faster["written"]) == (0.05, 0, 0)
    assert not {"arguments-void", "undecayed-matrices"} & seen.codes.keys()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1])
def test_deepspeed_on_the_cpu(watch: Watch, stage: int) -> None:
    """Its engine's optimizer, of flat weights under ZeRO; its scheduler to the end, which replaces the given lr."""
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed")
    seen = watch("deepspeed_engine.py", str(stage))
    seen.agrees()
    (optimizer,) = seen.document["optimizers"]
    (group,) = optimizer["groups"]
    assert (optimizer["scheduler"], optimizer["total_steps"]) == ("WarmupDecayLR", 60)
    assert (group["peak_lr"], group["lrs_ahead"][-1]) == (2e-3, [60, pytest.approx(2e-3 * 2 / 30)])  # two steps at 0
    assert group["measured"] == pytest.approx(0.1, rel=1e-3)
    assert "was given lr 0.001, which WarmupDecayLR replaces: its warmup_max_lr 0.002" in seen.message("lr-overwritten")
    assert list(group["roles"]) == (["flat"] if stage else ["hidden", "norm-and-bias"])


@pytest.mark.slow
def test_a_training_in_timms_style(watch: Watch) -> None:
    """Layer decay makes a group's peak, of which a warm-up shows nothing; what the model spares; a schedule unread."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    seen = watch("timm_style.py")
    seen.agrees()
    (optimizer,) = seen.document["optimizers"]
    peaks = [1e-3 * 0.75**power for power in (2, 2, 1, 1, 0, 0)]
    assert [group["peak_lr"] for group in optimizer["groups"]] == pytest.approx(peaks)
    assert optimizer["scheduler"] == "CosineLRScheduler"
    assert any("told by the training how far it is" in line for line in seen.document["unseen"])
    assert not seen.codes
    whole = watch("timm_style.py", options=("--whole",))
    whole.agrees()
    assert not any("rest of the schedule" in line for line in whole.document["unseen"])


def test_a_loop_with_much_around_it(watch: Watch) -> None:
    """Accumulated steps count once, a scaler and averaged weights change nothing, groups go by their names."""
    seen = watch("loop.py")
    seen.agrees()
    groups = {group["group"]: group for group in seen.document["optimizers"][0]["groups"]}
    assert {name: group["written"] for name, group in groups.items()} == {"matrices": 0.2, "table": 0.02, "vectors": 0}
    assert groups["matrices"]["roles"]["hidden"]["names"] == ["1.weight", "3.weight"]
    assert groups["matrices"]["measured"] == pytest.approx(0.2, rel=1e-3)
    assert set(seen.codes) == {"decay-on-embeddings"}


OPTIMIZERS = {  # of `optimizers.py`: what its weight decay means, and whether its steps can be measured
    "foreach": ("pytorch", True),
    "fused": ("pytorch", True),
    "amsgrad": ("pytorch", True),
    "tensor": ("pytorch", True),
    "compiled": ("pytorch", True),
    "nadam": ("torch-adam-decoupled", False),
    "adafactor": ("transformers-adafactor", False),
    "relative": ("transformers-adafactor", False),
    "composer": ("composer", True),
    "bitsandbytes": ("bitsandbytes", True),
    "bitsandbytes8": ("bitsandbytes", True),
}


@pytest.mark.slow
def test_optimizers_of_many_kinds(watch: Watch) -> None:
    """By if/else, in one process; the step and the model of one are compiled, one sets its own learning rate."""
    if not all(map(importlib.util.find_spec, ("bitsandbytes", "composer", "transformers"))):
        pytest.skip("a library is not installed")
    seen = watch("optimizers.py", *OPTIMIZERS, options=("--whole",))
    for number, (name, (convention, measured)) in enumerate(OPTIMIZERS.items()):
        optimizer = seen.document["optimizers"][number]
        assert (optimizer["steps"], optimizer["convention"], optimizer["known_by"]) == (12, convention, "class"), name
        (group,) = optimizer["groups"]
        assert ("measured" in group) == measured, name
        if measured:
            assert group["measured"] == pytest.approx(0.1, rel=1e-3), name
        if name != "relative":
            seen.agrees(number, number)
            assert group["timescale"]["iters"] == pytest.approx(1e4)
    assert "Adafactor: its learning rate, which it works out itself and does not tell" in seen.document["unseen"]
    assert "doubled" not in seen.codes
    assert "not-as-set" not in seen.codes


@pytest.mark.slow
def test_lightning(watch: Watch) -> None:
    """The names of the module, the Trainer's steps, and one cycle to its end."""
    pytest.importorskip("lightning")
    seen = watch("lightning_module.py")
    seen.agrees()
    (optimizer,) = seen.document["optimizers"]
    assert (optimizer["total_steps"], optimizer["scheduler"]) == (48.0, "OneCycleLR")
    assert optimizer["groups"][0]["roles"]["hidden"]["names"] == ["net.0.weight", "net.2.weight"]
    assert optimizer["groups"][0]["lrs_ahead"][-1][1] == pytest.approx(4e-3 / 25 / 1e4, rel=1e-6)
    assert "lr-overwritten" not in seen.codes


@pytest.mark.slow
def test_accelerate(watch: Watch) -> None:
    """The optimizer and the scheduler within its wrappers."""
    seen = watch("accelerated.py")
    seen.agrees()
    (optimizer,) = seen.document["optimizers"]
    assert (optimizer["total_steps"], optimizer["total_steps_from"]) == (32.0, "LambdaLR's num_training_steps")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ddp", "fsdp", "fsdp2"])
def test_two_processes(watch: Watch, how: str) -> None:
    """Rank 0 reports; flat parameters have no names, which is said; a sharded one is measured on its own part."""
    seen = watch("distributed.py", how, start=TORCHRUN)
    seen.agrees()
    assert seen.document["processes"] == 2
    (optimizer,) = seen.document["optimizers"]
    (group,) = optimizer["groups"]
    assert (optimizer["scheduler"], optimizer["total_steps"]) == ("SequentialLR", 50.0)
    assert group["lrs_ahead"][-1] == [50, pytest.approx(1e-4 + 0.5 * 9e-4 * (1 - 0.99756405), rel=1e-3)]
    assert group["measured"] == pytest.approx(0.1, rel=1e-2)
    if how == "fsdp":
        assert list(group["roles"]) == ["flat"]
        assert "decay-on-norms" not in seen.codes
        assert any("flat parameters" in line for line in seen.document["unseen"])
    else:
        assert group["roles"]["hidden"]["names"] == ["0.weight", "2.weight"]


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("norms", "decay-on-norms", "up.bias, norm.weight, norm.bias and 1 more"),
        ("overwrites", "overwritten", "was 0.1 and is 0.01 since step 4"),
        ("decay-schedule", "overwritten", "was 0.1 and moves from step 2 on, to 0.0525 in step"),
        ("unit", "wrong-unit", "weight_decay 0.1 off every weight at each step"),
        ("l2", "l2", "Adam adds weight_decay 0.1 to the gradient"),
        ("undecayed", "undecayed-matrices", "1,024 weights of hidden matrices do not decay, where others do: down"),
        ("undecayed", "empty-group", "group 3 of AdamW holds no weights"),
        ("onecycle", "lr-overwritten", "given lr 0.001, which OneCycleLR replaces: its max_lr 0.01"),
        ("doubled", "doubled", "0.0001 by the optimizer, 0.0001 by somebody else"),
        ("unoptimized", "unoptimized", "forgotten.weight, forgotten.bias"),
    ],
)
def test_a_fault_is_named(watch: Watch, fault: str, code: str, said: str) -> None:
    """With the user's own names and numbers, and no other error."""
    seen = watch("faults.py", fault)
    seen.agrees()
    assert said in seen.message(code)
    errors = {each for each, severity in seen.codes.items() if severity == "error"}
    assert errors == ({code} if code in ("wrong-unit", "l2", "doubled") else set())
    assert seen.code == (1 if errors else 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["remade", "own-lr", "diverges", "warm-up", "two-schedulers"])
def test_a_training_that_takes_a_turn_is_stopped_and_no_more_is_said_than_is_known(watch: Watch, kind: str) -> None:
    """One optimizer that makes 20 steps, and neither a length nor a weight without an optimizer is made up."""
    seen = watch("turns.py", kind)
    (optimizer,) = seen.document["optimizers"]
    assert (seen.code, seen.document["stopped"], optimizer["steps"]) == (0, True, 20)
    assert "total_steps" not in optimizer
    assert "unoptimized" not in seen.codes  # the critic's has not stepped yet
    (group,) = optimizer["groups"]
    if kind != "own-lr":
        assert group["measured"] == pytest.approx(0.1, rel=1e-2)


@pytest.mark.slow
def test_one_step_does_not_tell_how_often_a_scheduler_is_stepped(watch: Watch) -> None:
    """It may be once in an epoch."""
    seen = watch("faults.py", "short", options=("--steps", "1"))
    assert seen.document, seen.err
    (optimizer,) = seen.document["optimizers"]
    assert "total_steps" not in optimizer
    assert "one step does not tell" in optimizer["schedule_unknown"]


@pytest.mark.slow
def test_a_schedule_that_is_too_long_for_the_run(watch: Watch) -> None:
    """What the run has, the user says, or the command by ending."""
    for options in (("--steps-total", "40"), ("--whole",)):
        assert "made for 400 steps" in watch("faults.py", "short", options=options).message("schedule-not-the-run")


@pytest.mark.slow
def test_formats_for_reviews(watch: Watch, adamw_scale: Command, tmp_path: Path) -> None:
    """SARIF and GitHub's commands stand at the script."""
    script = str(Path(__file__).parent / "scripts" / "faults.py")
    command = ("--", PYTHON, script, str(tmp_path / "truth"), "l2")
    (run,) = json.loads(adamw_scale("audit", "--format", "sarif", *command).out)["runs"]
    assert run["results"][0]["ruleId"] == "l2"
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith("faults.py")
    assert adamw_scale("audit", "--format", "github", *command).out.startswith("::error file=")
    text = adamw_scale("audit", *command).out
    assert "20 steps of Adam, weight decay as in torch-adam" in text


def test_a_weight_decay_that_moves_counts_by_its_sum(watch: Watch) -> None:
    """Of a whole training: the constant value with the same sum of lr * weight decay, not the last one."""
    seen = watch("faults.py", "decay-schedule", options=("--whole",))
    (group, *_) = seen.document["optimizers"][0]["groups"]
    rows = [step["groups"][0] for step in seen.truth]
    expected = sum(row["lr"] * row["weight_decay"] for row in rows) / sum(row["lr"] for row in rows)
    assert len({row["weight_decay"] for row in rows}) > 10
    assert group["written"] == pytest.approx(expected, rel=1e-9)
