"""PyTorch's snippet with the real torch.optim.AdamW and LambdaLR."""

from typing import Any

import pytest
from walking import RUNS, STEPS, TinyLM, advice, assert_walks_as_recommended, config_of, read, short

from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

NAMED = ("wsd-1-sqrt", "linear", "cosine-to-10-percent", "constant", "linear-to-20-percent", "mup", "samples")


def build(text: str, model: TinyLM, *, by_group: bool) -> tuple[Any, Any]:
    """What the snippet builds."""
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(text, "snippet.py", "exec"), namespace)
    assert namespace["TOTAL_STEPS"] == STEPS
    optimizer, scheduler = namespace["build_optimizer"](*((model, model.lm_head) if by_group else (model,)))
    return optimizer, scheduler


@pytest.mark.parametrize("run", NAMED)
def test_every_step_is_as_recommended(run: str) -> None:
    """The snippet takes its schedule at the middle of each step."""
    recommendation = short(run)
    model = TinyLM()
    optimizer, scheduler = build(emit("pytorch", recommendation).text, model, by_group=run == "mup")
    config = config_of(recommendation, "pytorch")
    assert_walks_as_recommended(model, optimizer, scheduler.step, config, lambda step: (step + 0.5) / STEPS)


@pytest.mark.parametrize("run", RUNS)
def test_run_as_a_script_it_shows_its_groups(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader can try it before using it."""
    exec(compile(emit("pytorch", advice(run)).text, "snippet.py", "exec"), {"__name__": "__main__"})
    assert "weight_decay" in capsys.readouterr().out


def test_reads_a_call_and_its_groups() -> None:
    """Plain parameters all decay; groups say what does."""
    part = FRAMEWORKS["pytorch"]()
    plain = read(part, "opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)")
    assert [group.weight_decay for group in plain.groups] == [0.1] * 4
    groups = read(
        part,
        "wd = 0.1\ngroups = [{'params': a, 'weight_decay': wd}, {'params': b, 'weight_decay': 0.0}]\n"
        "opt = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), fused=True)",
    )
    assert [group.weight_decay for group in groups.groups] == [0.1, 0.1, 0.1, 0.0]
    assert (groups.betas, groups.defaults) == ((0.9, 0.95), ("eps",))
    assert read(part, "optim.AdamW(params, 3e-4, (0.9, 0.95), weight_decay=0.1)").peak_lr == 3e-4
    assert read(part, "AdamW(params)").defaults == ("weight_decay", "peak_lr", "eps", "betas")


def test_what_code_says_is_unknown_and_not_zero() -> None:
    """Arguments of the command line; a group without its own decay has the optimizer's; two optimizers are refused."""
    part = FRAMEWORKS["pytorch"]()
    assert not read(part, "AdamW(model.parameters(), lr=3e-4, weight_decay=args.wd)").weight_decay_known
    groups = read(part, "AdamW([{'params': b, 'weight_decay': 0.0}, {'params': a}], lr=3e-4, weight_decay=0.1)")
    assert ([group.weight_decay for group in groups.groups], groups.weight_decay_known) == ([0.1, 0.1, 0.1, 0.0], True)
    code = read(part, "AdamW([{'params': a, 'weight_decay': args.wd}, {'params': b, 'weight_decay': 0.0}], lr=args.lr)")
    assert (code.group("norm-and-bias").weight_decay, code.weight_decay_known, code.peak_lr) == (0.0, False, None)
    with pytest.raises(SpecError, match="2 different optimizers"):
        read(part, "a = AdamW(p, lr=1e-3, weight_decay=0.1)\nb = Adam(q, lr=1e-4, weight_decay=1e-4)")
