"""Looking values up in a config: what is a number, and values that are possible each and impossible together."""

import pytest
from walking import read

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Unread
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.reading import UNREAD, Keys


@pytest.mark.parametrize(
    "value", ["nan", "inf", "1e999", "1e-320", 5e-324, "1e31", -1e-40, True, [1], {"a": 1}, "fast", ""]
)
def test_what_no_config_means_is_no_number(value: object) -> None:
    """Of one number or of a pair; the key is named. An empty text is left open."""
    if value != "":
        with pytest.raises(SpecError, match=r"^a\.b = "):
            Keys({"a": {"b": value}}).number("a.b")
        with pytest.raises(SpecError, match=r"^a\.b = "):
            Keys({"a": {"b": [0.9, value]}}).pair("a.b")
    else:
        assert Keys({"a": {"b": value}}).number("a.b") is None


def test_only_what_may_be_below_zero_is() -> None:
    """A -1 for "not set" is read where it means that."""
    assert Keys({"steps": "-1"}).signed("steps") == -1
    with pytest.raises(SpecError, match="steps = -1: below 0"):
        Keys({"steps": "-1"}).number("steps")
    assert [Keys({"a": text}).number("a") for text in ("0", "1_000", "1e-30", 1e30)] == [0, 1000, 1e-30, 1e30]


def test_what_is_settled_elsewhere_is_not_noted() -> None:
    """Neither as a default nor as not read."""
    keys = Keys({"lr": Unread("LR"), "weight_decay": Unread("WD")})
    assert keys.number_or("peak_lr", 1e-3, "lr") is keys.number_or("weight_decay", 0.1, "weight_decay") is None
    keys.settle("weight_decay")
    assert [(finding.code, finding.key) for finding in keys.findings] == [(UNREAD, "lr")]


IMPOSSIBLE = {
    "timm": "train.py --opt adamw --lr 1e-3 --epochs 5 --warmup-prefix --warmup-epochs -5",
    "levanter": "trainer: {num_train_steps: 1000}\noptimizer: {lr_schedule: {type: inv_sqrt, timescale: -5}}",
    "llm-foundry": "max_duration: 10ba\noptimizer: {name: decoupled_adamw, lr: 1e400}",
    "nanogpt": "learning_rate = 1e-320\nmax_iters = 10",
}


@pytest.mark.parametrize("framework", IMPOSSIBLE)
def test_impossible_values_are_refused(framework: str) -> None:
    """Before anything is computed of them."""
    with pytest.raises(SpecError):
        read(FRAMEWORKS[framework](), IMPOSSIBLE[framework])


def test_a_cosine_that_is_over_when_warmup_ends() -> None:
    """axolotl's cosine may end at a fraction of the run, the warm-up's end included: then the rest is at the floor."""
    text = (
        "lr_scheduler: cosine\ncosine_min_lr_ratio: 0.1\ncosine_constant_lr_ratio: 0.1\nwarmup_steps: 10\nmax_steps: "
        "100\n"
    )
    schedule = read(FRAMEWORKS["axolotl"](), text).lr_schedule
    assert [schedule.multiplier(at) for at in (0.05, 0.2, 0.9)] == pytest.approx([0.5, 0.1, 0.1])


@pytest.mark.parametrize(
    ("framework", "call"), [("pytorch", "AdamW"), ("composer", "DecoupledAdamW"), ("huggingface", "TrainingArguments")]
)
def test_a_variable_in_code_is_noted(framework: str, call: str) -> None:
    """The learning rate's, and weight decay's unless groups say what really decays."""
    name = "learning_rate" if framework == "huggingface" else "lr"
    text = f"{call}(parameters, {name}=LR, weight_decay=WD)\n"
    groups = 'groups = [{"params": p, "weight_decay": 0.1}, {"params": q, "weight_decay": 0.0}]\n'
    for source, expected in ((text, {name, "weight_decay"}), (text + groups, {name})):
        findings = read(FRAMEWORKS[framework](), source).findings
        assert {finding.key for finding in findings if finding.code == UNREAD} == expected
