"""The built-in networks: K probes at once compute what K plain modules compute, each for itself, and scale as muP."""

from typing import Any

import pytest
import torch
from plain_modules import NETWORKS, Network, Plain, network
from torch import Tensor
from torch.nn import functional as F

from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.training.models.gpt import GPT
from adamw_scale.training.models.mlp import MLP
from adamw_scale.training.models.model import Parameter, Scaling, attention, linear
from adamw_scale.training.models.resnet import ResNet
from adamw_scale.training.trainer import normal_initial

RUNS: dict[str, dict[str, Any]] = {
    "standard": {},
    "mup": {"parametrization": "mup", "width": 64, "base_width": 16},
    "completep": {"parametrization": "completep", "width": 32, "base_width": 16, "depth": 2, "base_depth": 1},
}
STEPS, LR = 5, 0.01


def run_of(**fields: Any) -> TrainingRun:
    """A run, of which only the parametrization and the sizes matter here."""
    return TrainingRun(dataset_size=1000, batch_size=10, **fields)


def random_weights(model: Any, probes: int) -> dict[str, Tensor]:
    """Initial weights of seeds 0, 1, ..., with gains and biases that are off their starting values, in float64."""
    generator = torch.Generator().manual_seed(100)
    starts = [normal_initial(model.parameters, seed) for seed in range(probes)]
    weights = {}
    for i, parameter in enumerate(model.parameters):
        weight = torch.stack([start[i] for start in starts]).double()
        noise = 0.0 if parameter.std else 0.3
        weights[parameter.name] = weight + noise * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return {name: weight.requires_grad_() for name, weight in weights.items()}


def random_batch(net: Network, probes: int, examples: int = 6) -> tuple[Tensor, Tensor]:
    """Inputs and targets, other ones for each probe."""
    generator = torch.Generator().manual_seed(0)
    pairs = [(net.inputs(examples, generator), net.targets(examples, generator)) for _ in range(probes)]
    inputs, targets = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return inputs, targets


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss over everything before the last axis."""
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def loaded(net: Network, weights: dict[str, Tensor], probe: int) -> Plain:
    """The plain module with a probe's weights."""
    plain = net.plain().double()
    for name, weight in weights.items():
        plain.load(name, weight[probe].detach())
    return plain


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    """The same within 1e-12 of the largest element."""
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12 * float(theirs.detach().abs().max()))


@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("parametrization", RUNS)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_are_those_of_plain_modules(name: str, parametrization: str, probes: int) -> None:
    """In float64, each probe's outputs and gradients equal its plain module's within 1e-12."""
    net = network(name, run_of(**RUNS[parametrization]))
    weights, (inputs, targets) = random_weights(net.model, probes), random_batch(net, probes)
    outputs = net.model.forward(weights, inputs)
    losses = torch.stack([cross_entropy(outputs[k], targets[k]) for k in range(probes)])
    gradients = dict(zip(weights, torch.autograd.grad(losses.sum(), list(weights.values())), strict=True))
    for k in range(probes):
        plain = loaded(net, weights, k)
        theirs = plain(inputs[k])
        assert_equal(outputs[k], theirs)
        cross_entropy(theirs, targets[k]).backward()  # type: ignore[no-untyped-call]
        for each, gradient in gradients.items():
            expected = plain.parameter(each).grad
            assert expected is not None
            assert_equal(plain.lies_here(each, gradient[k]), expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_of_the_plain_module(name: str) -> None:
    """As many parameters as the plain module has, each with a name of its own and a group that is known."""
    net = network(name, run_of())
    assert net.model.num_params == sum(parameter.numel() for parameter in net.plain().parameters())
    assert len({parameter.name for parameter in net.model.parameters}) == len(net.model.parameters)
    for parameter in net.model.parameters:
        assert parameter.group in GROUPS
        assert (len(parameter.shape) == 1) == (parameter.group == NORM_AND_BIAS)


@pytest.mark.parametrize("name", NETWORKS)
def test_probes_do_not_mix(name: str) -> None:
    """NaN in all weights of one probe leaves outputs and gradients of the others as they were, to the last bit."""
    net = network(name, run_of())
    inputs, targets = random_batch(net, 3)

    def evaluated(weights: dict[str, Tensor]) -> list[Tensor]:
        outputs = net.model.forward(weights, inputs)
        losses = torch.stack([cross_entropy(outputs[k], targets[k]) for k in range(3)])
        return [outputs, *torch.autograd.grad(losses.sum(), list(weights.values()))]

    sound = random_weights(net.model, 3)
    broken = {each: weight.detach().clone() for each, weight in sound.items()}
    for weight in broken.values():
        weight[1] = torch.nan
        weight.requires_grad_()
    for before, after in zip(evaluated(sound), evaluated(broken), strict=True):
        assert torch.equal(before[[0, 2]], after[[0, 2]])
        assert after[1].isnan().any()


def test_gpt_is_causal() -> None:
    """A token changes no logit before it and every one from it on."""
    net = network("gpt", run_of())
    weights, (inputs, _) = random_weights(net.model, 2), random_batch(net, 2)
    changed = inputs.clone()
    changed[:, :, 5] = (inputs[:, :, 5] + 1) % 64
    with torch.no_grad():
        before, after = net.model.forward(weights, inputs), net.model.forward(weights, changed)
    assert torch.equal(before[:, :, :5], after[:, :, :5])
    assert (before[:, :, 5:] != after[:, :, 5:]).any(-1).all()


def test_gpt_reads_texts_shorter_than_its_context() -> None:
    """The first tokens alone get the logits they get among more."""
    net = network("gpt", run_of())
    weights, (inputs, _) = random_weights(net.model, 1), random_batch(net, 1)
    with torch.no_grad():
        assert_equal(net.model.forward(weights, inputs[:, :, :3]), net.model.forward(weights, inputs)[:, :, :3])


def test_vit_sees_all_patches_everywhere() -> None:
    """Attention is not causal: the last pixel changes what the network says, and so does the first."""
    net = network("vit", run_of())
    weights, (inputs, _) = random_weights(net.model, 1), random_batch(net, 1)
    with torch.no_grad():
        before = net.model.forward(weights, inputs)
        for corner in (0, -1):
            changed = inputs.clone()
            changed[..., corner, corner] += 1
            assert (net.model.forward(weights, changed) != before).all()


@pytest.mark.parametrize("shape", [(2, 3), (5, 7), (3, 16), (16, 1), (1, 5), (13, 33)], ids=str)
def test_linear_of_any_shape(shape: tuple[int, int]) -> None:
    """Sizes that must be filled up give the same product and gradients as an einsum."""
    inputs, outputs = shape
    generator = torch.Generator().manual_seed(0)
    sizes = ((3, 5, inputs), (3, inputs, outputs), (3, outputs))
    x, weight, bias = (torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in sizes)
    ours, theirs = linear(x, weight, bias), torch.einsum("kbi,kio->kbo", x, weight) + bias.unsqueeze(1)
    assert_equal(ours, theirs)
    weighting = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    for mine, other in zip(
        torch.autograd.grad((ours * weighting).sum(), (x, weight, bias)),
        torch.autograd.grad((theirs * weighting).sum(), (x, weight, bias)),
        strict=True,
    ):
        assert_equal(mine, other)


def test_attention_of_any_shape() -> None:
    """Examples that are filled up change no other example."""
    generator = torch.Generator().manual_seed(0)
    x, qkv, out = (
        torch.randn(s, generator=generator, dtype=torch.float64) for s in ((2, 3, 5, 7), (2, 7, 21), (2, 7, 7))
    )
    whole = attention(x, qkv, out, 1, causal=True)
    assert whole.shape == x.shape
    assert_equal(attention(x[:, 1:2], qkv, out, 1, causal=True), whole[:, 1:2])


def named(name: str, **fields: Any) -> dict[str, Parameter]:
    """A network's parameters by name."""
    return {parameter.name: parameter for parameter in network(name, run_of(**fields)).model.parameters}


@pytest.mark.parametrize("name", NETWORKS)
def test_mup_at_four_times_the_base_width(name: str) -> None:
    """Hidden standard deviations halve; those of inputs, embeddings and output stay; the output is divided by 4."""
    wide = named(name, parametrization="mup", width=128, base_width=32)
    base = named(name, parametrization="mup", width=32, base_width=32)
    expected = {HIDDEN: 0.5, EMBEDDING: 1.0, OUTPUT: 1.0, NORM_AND_BIAS: 1.0}
    assert {parameter.group for parameter in wide.values()} == set(expected)
    for each, parameter in wide.items():
        assert parameter.std == pytest.approx(base[each].std * expected[parameter.group]), each
        assert parameter.mean == base[each].mean
    scaling = Scaling.of(run_of(parametrization="mup", width=128, base_width=32))
    assert scaling.readout(torch.ones(1)).item() == 0.25
    assert (scaling.groups[HIDDEN].peak_lr, scaling.groups[HIDDEN].weight_decay) == (0.25, 4.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_only_hidden_matrices_grow_both_ways(name: str) -> None:
    """muP's kinds, told by shapes: hidden have two dimensions that grow with width, inputs and outputs one of them."""
    narrow, wide = named(name, width=32), named(name, width=64)
    for each, parameter in wide.items():
        growing = sum(a != b for a, b in zip(parameter.shape, narrow[each].shape, strict=True))
        table = name == "byte-mlp" and each == "token_embedding"  # 16 wide at every width
        finite = parameter.group == NORM_AND_BIAS and each == "output.bias"
        assert growing == (2 if parameter.group == HIDDEN else 0 if table or finite else 1), each


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_keep_their_scale_at_the_start(name: str) -> None:
    """In standard parametrization the first logits have a scale of order one at every width."""
    for width in (32, 128):
        net = network(name, run_of(width=width))
        weights = {
            p.name: weight.unsqueeze(0).double()
            for p, weight in zip(net.model.parameters, normal_initial(net.model.parameters, 0), strict=True)
        }
        inputs, _ = random_batch(net, 1, examples=16)
        assert 0.2 < float(net.model.forward(weights, inputs).std()) < 2.0


def coordinates(name: str, width: int, seed: int, **fields: Any) -> dict[str, tuple[float, float]]:
    """Root mean square of what each layer puts out at the start, and of its change over a few steps of AdamW."""
    net = network(name, run_of(width=width, **fields))
    plain, groups = net.plain(), net.model.scaling.groups  # type: ignore[attr-defined]
    for parameter, start in zip(net.model.parameters, normal_initial(net.model.parameters, seed), strict=True):
        plain.load(parameter.name, start)
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = net.inputs(16, generator), net.targets(16, generator)
    inputs = inputs.float() if inputs.is_floating_point() else inputs
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [plain.parameter(parameter.name)],
                "lr": LR * groups[parameter.group].peak_lr,
                "eps": 1e-8 * groups[parameter.group].eps,
            }
            for parameter in net.model.parameters
        ],
        betas=(0.9, 0.95),
        weight_decay=0.0,
    )
    seen: dict[str, Tensor] = {}
    for each, layer in plain.named_modules():
        if each and each != "output" and not list(layer.children()):
            layer.register_forward_hook(lambda _layer, _inputs, output, each=each: seen.update({each: output.detach()}))
    start = {"logits": plain(inputs).detach(), **seen}
    for _ in range(STEPS):
        optimizer.zero_grad()
        cross_entropy(plain(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    end = {"logits": plain(inputs).detach(), **seen}
    return {each: (_size(start[each]), _size(end[each] - start[each])) for each in start}


def _size(tensor: Tensor) -> float:
    return float(tensor.square().mean().sqrt())


def mean_coordinates(name: str, width: int, **fields: Any) -> dict[str, tuple[float, float]]:
    """Means over three seeds."""
    seeds = [coordinates(name, width, seed, **fields) for seed in range(3)]
    return {each: (sum(s[each][0] for s in seeds) / 3, sum(s[each][1] for s in seeds) / 3) for each in seeds[0]}


# The base, and 8 times as wide; of ResNet 4 times, for its cost.
WIDTHS = {name: (32, 128) if name == "resnet" else (32, 256) for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_coordinates_under_mup(name: str) -> None:
    """Under muP, what each layer puts out and how much five AdamW steps change it are as large at every width."""
    narrow, wide = WIDTHS[name]
    base, large = (mean_coordinates(name, width, parametrization="mup", base_width=narrow) for width in (narrow, wide))
    for each in base:
        assert 0.5 < large[each][1] / base[each][1] < 1.8, (each, base[each], large[each])
        if each != "logits":  # of random weights they are of order 1/sqrt(width)
            assert 0.7 < large[each][0] / base[each][0] < 1.4, (each, base[each], large[each])
    assert large["logits"][0] < 0.7 * base["logits"][0]


@pytest.mark.parametrize("name", NETWORKS)
def test_coordinates_grow_in_standard_parametrization(name: str) -> None:
    """With the same learning rate everywhere, five AdamW steps change wide networks several times as much."""
    narrow, wide = WIDTHS[name]
    base, large = (mean_coordinates(name, width) for width in (narrow, wide))
    growth = {each: large[each][1] / base[each][1] for each in base}
    assert growth["logits"] > 1.2  # least where a norm comes last, as in the ResNet
    assert max(growth.values()) > 3


def test_sizes_of_the_default_networks() -> None:
    """Counted by hand: weights of a network are what its shape says."""
    scaling = Scaling.of(run_of())
    gpt = GPT(scaling, vocabulary=256, width=32, depth=2, context=32)
    assert gpt.num_params == 2 * 256 * 32 + 32 * 32 + 2 * (12 * 32 * 32 + 2 * 32) + 32
    mlp = MLP(scaling, inputs=64, width=64, depth=2, outputs=10)
    assert mlp.num_params == 2 * (64 * 64 + 64) + 64 * 10 + 10
    resnet = ResNet(scaling, channels=1, width=16, depth=1, outputs=10)
    stages = 2 * 16 * 16 * 9 + (16 * 32 + 32 * 32) * 9 + 16 * 32 + (32 * 64 + 64 * 64) * 9 + 32 * 64
    assert resnet.num_params == 16 * 9 + stages + 2 * (16 + 16 + 16 + 32 + 32 + 64 + 64) + 64 * 10 + 10
