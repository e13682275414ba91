"""Every trainable parameter is in exactly one group, with what the recommendation says of it."""

import pytest
import torch
import transformers
from torch import nn

from adamw_scale import TrainingRun, recommend
from adamw_scale.errors import SpecError
from adamw_scale.integrations import group_names, param_groups
from adamw_scale.spec.advice import Recommendation


class Rms(nn.Module):
    """A norm of its own, whose gain has two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, 8))


class MyRMSNorm(Rms):
    """Named as norms are."""


def tied() -> nn.Module:
    """Embedding and output share their weights; one layer is frozen."""
    mix, frozen, head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 32, bias=False)
    layers = {"embed": nn.Embedding(32, 8), "norm": MyRMSNorm(), "mix": mix, "frozen": frozen, "head": head}
    model = nn.ModuleDict(layers)
    model["head"].weight = model["embed"].weight
    model["frozen"].requires_grad_(False)
    return model


def transformer(name: str) -> nn.Module:
    """A tiny model of transformers, made from its configuration."""
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
    config = {
        "gpt2": transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=64, n_positions=32),
        "llama": transformers.LlamaConfig(**small, intermediate_size=32, num_key_value_heads=2),
    }[name]
    return transformers.AutoModelForCausalLM.from_config(config)


MODELS = {
    "sequential": lambda: nn.Sequential(nn.Embedding(16, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 16)),
    "convolution": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2)),
    "tied": tied,
    "gpt2": lambda: transformer("gpt2"),
    "llama": lambda: transformer("llama"),
}


def advice(**fields: object) -> Recommendation:
    """For a small language model."""
    return recommend(
        TrainingRun.model_validate(
            {"dataset_size": "10M", "batch_size": "8k", "peak_lr": 1e-3, "num_params": "1M", **fields}
        )
    )


@pytest.mark.parametrize("name", MODELS)
def test_every_trainable_parameter_is_in_one_group(name: str) -> None:
    """None is lost, none is twice; nothing of one dimension decays; AdamW takes them."""
    model = MODELS[name]()
    groups = param_groups(model, advice())
    members = [parameter for group in groups for parameter in group["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {p for p in model.parameters() if p.requires_grad}
    assert all(group["weight_decay"] == 0 for group in groups if any(p.ndim < 2 for p in group["params"]))
    optimizer = torch.optim.AdamW(groups)
    assert [group["name"] for group in optimizer.param_groups] == [group["name"] for group in groups]
    assert all(group["weight_decay"] > 0 for group in groups if group["name"] != "norm-and-bias")


def test_the_rule() -> None:
    """Norms by name, embeddings by module also where tied, the output where the model says it."""
    model = tied()
    names = group_names(model)
    assert names[model["norm"].gain] == "norm-and-bias"
    assert names[model["embed"].weight] == "embedding"
    assert names[model["mix"].weight] == "hidden"
    assert names[model["mix"].bias] == "norm-and-bias"
    llama = transformer("llama")
    assert group_names(llama)[llama.lm_head.weight] == "output"


def test_mup_gives_each_group_its_own_values() -> None:
    """Hidden lr / m and λ · m at four times the width; the output must be known."""
    wide = advice(parametrization="mup", width=64, base_width=16)
    model = MODELS["sequential"]()
    groups = {group["name"]: group for group in param_groups(model, wide, output_layer=model[-1])}
    assert groups["hidden"]["lr"] == pytest.approx(1e-3 / 4)
    assert groups["embedding"]["lr"] == pytest.approx(1e-3)
    assert groups["hidden"]["weight_decay"] * groups["hidden"]["lr"] == pytest.approx(wide.base_weight_decay * 1e-3)
    assert groups["output"]["params"] == [model[-1].weight]
    with pytest.raises(SpecError, match="pass output_layer="):
        param_groups(model, wide)


def test_nothing_to_train_is_refused() -> None:
    """One line that says so."""
    with pytest.raises(SpecError, match="nothing to train"):
        param_groups(nn.Linear(2, 2).requires_grad_(False), advice())
