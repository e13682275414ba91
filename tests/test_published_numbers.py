"""Published numbers, and numbers worked out from published formulas: one test a source.

Those of learning-rate laws (11 to 13) stand in test_lr_laws, those of betas and batch (16, 17) in test_batch_scaling.
"""

import math

import pytest
import torch

from adamw_scale import TrainingRun, recommend
from adamw_scale.rules.adana import Adana
from adamw_scale.rules.constant_tau_epoch import ConstantTauEpoch
from adamw_scale.rules.loshchilov_hutter import LoshchilovHutter
from adamw_scale.rules.power_lines import PowerLines
from adamw_scale.rules.steplaw_refit import StepLawRefit
from adamw_scale.theory import batch_scaling as scaling
from adamw_scale.theory import timescale as ema
from adamw_scale.theory.coefficients import ema_coefficients
from adamw_scale.theory.conventions import Setting, from_pytorch, to_pytorch
from adamw_scale.theory.lr_laws import LAWS
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS, Multipliers
from adamw_scale.theory.schedules import Schedule


def test_01_power_lines_2505_13738_equation_3() -> None:
    """Timescale at 1 to 1280 tokens per parameter."""
    law = PowerLines()
    published = {
        1: 1.084,
        10: 0.32213,
        20: 0.22356,
        40: 0.15515,
        100: 0.09573,
        200: 0.06643,
        320: 0.05186,
        1000: 0.02845,
        1280: 0.02498,
    }
    assert {tpp: round(law.tau_run(tpp), 5) for tpp in published} == published


def test_02_power_lines_2505_13738_setup() -> None:
    """610M model: B 252 x 2048, lr 2e-3, λ 0.1, 12.2B tokens is tau 0.2115, 5000 steps of 23,639."""
    run = TrainingRun(dataset_size=12.2e9, batch_size=252 * 2048, peak_lr=2e-3, num_params=610e6)
    tau = run.timescale_of(0.1)
    assert (round(tau.run, 5), round(tau.iters), round(run.total_steps, 1)) == (0.21151, 5000, 23639.0)
    assert recommend(run, "power-lines").weight_decay == pytest.approx(0.094614, rel=1e-5)


@pytest.mark.parametrize(("tpp", "tau"), [(20, 0.1924), (100, 0.0756), (200, 0.0505), (350, 0.0365)])
def test_03_refit_of_step_law_2503_04715_runs(tpp: float, tau: float) -> None:
    """1.096 * TPP^-0.581."""
    assert StepLawRefit().tau_run(tpp) == pytest.approx(tau, abs=2e-4)


@pytest.mark.parametrize(("steps_per_epoch", "decay"), [(4595.947, 0.25), (9191.895, 0.125), (18383.789, 0.0625)])
def test_04_wang_aitchison_2405_13698_openwebtext(steps_per_epoch: float, decay: float) -> None:
    """The best λ on 25, 50, 100 % of OpenWebText is 1.45 epochs each, 0.36 of the run."""
    run = TrainingRun(dataset_size=steps_per_epoch * 491520, batch_size=491520, epochs=4, peak_lr=6e-4)
    tau = run.timescale_of(decay)
    assert tau.epochs == pytest.approx(1.45055, rel=1e-5)
    assert tau.run == pytest.approx(0.362638, rel=1e-5)
    assert ConstantTauEpoch().target_timescale(run).epochs == pytest.approx(tau.epochs, rel=1e-3)


@pytest.mark.parametrize(
    ("epochs", "independent"), [(100, 1.26491e-4), (300, 7.30297e-5), (1500, 3.26599e-5), (1800, 2.98142e-5)]
)
def test_05_loshchilov_hutter_1711_05101_cifar(epochs: float, independent: float) -> None:
    """Normalized decay 0.025, batch 128 of 50,000: lr*λ by epochs, and the same through the 'loshchilov' convention."""
    run = TrainingRun(unit="samples", dataset_size=50_000, batch_size=128, epochs=epochs, peak_lr=1e-3)
    tau = LoshchilovHutter().target_timescale(run)
    assert 1 / tau.iters == pytest.approx(independent, rel=1e-5)
    assert to_pytorch("loshchilov", 0.025, run.setting) == pytest.approx(independent / 1e-3, rel=1e-5)
    if epochs == 1500:
        assert (tau.iters, tau.epochs, tau.run) == pytest.approx((30_618.6, 78.384, 0.0522558), rel=1e-5)
    if epochs == 100:
        assert tau.epochs == pytest.approx(20.2386, rel=1e-5)


def test_05_loshchilov_hutter_1711_05101_restarts() -> None:
    """With restarts the steps are those of the current cycle: half of the run in the last of two equal ones."""
    run = TrainingRun(
        unit="samples",
        dataset_size=50_000,
        batch_size=128,
        epochs=200,
        peak_lr=1e-3,
        schedule="cosine-restarts",
        cycles=2,
    )
    assert 1 / LoshchilovHutter().target_timescale(run).iters == pytest.approx(1.26491e-4, rel=1e-5)


def test_06_conversions_big_vision_and_dclm() -> None:
    """Independent 1e-4 at lr 1e-3 is PyTorch's 0.1; DCLM's lr * λ is 1e-4 in both of its settings."""
    assert to_pytorch("big-vision", 1e-4, Setting(peak_lr=1e-3)) == pytest.approx(0.1)
    assert from_pytorch("independent", 0.033, Setting(peak_lr=3e-3)) == pytest.approx(9.9e-5)
    assert from_pytorch("independent", 0.05, Setting(peak_lr=2e-3)) == pytest.approx(1e-4)


def test_07_kosson_2305_17212_equilibrium() -> None:
    """RMS sqrt(lr / 2λ), RMS of Adam's update under noise 0.2294, relative update 3.24e-3."""
    assert ema.equilibrium_rms(1e-3, 0.1) == pytest.approx(0.0707107, abs=5e-8)
    assert ema.equilibrium_rms(3e-4, 0.1) == pytest.approx(0.0387298, abs=5e-8)
    relative = ema.equilibrium_relative_update(1e-3, 0.1, 0.9)
    assert relative == pytest.approx(3.24443e-3, rel=1e-5)
    assert relative * 0.0707107 / 1e-3 == pytest.approx(0.229416, rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "published"),
    [
        (Schedule("constant"), 0.00674),
        (Schedule("linear"), 0.08208),
        (Schedule("cosine"), 0.08208),
        (Schedule("cosine", final_lr_fraction=0.1), 0.06393),
        (Schedule("wsd", decay_fraction=0.2), 0.01111),
        (Schedule("wsd-1-sqrt", decay_fraction=0.2), 0.01312),
    ],
    ids=lambda value: value.name if isinstance(value, Schedule) else "",
)
def test_08_retention_2405_13698_2502_15938_at_a_fifth_of_the_run(schedule: Schedule, published: float) -> None:
    """exp(-mean / tau) by schedule."""
    assert ema.retention(schedule.mean(), 0.2) == pytest.approx(published, abs=5e-6)


def test_09_ema_coefficients_2405_13698() -> None:
    """1000 steps, lr 0.03 linear to zero, λ 0.1: coefficients sum to 1, 0.2224608 of the start is left."""
    decays = torch.tensor([0.03 * (1 - i / 1000) * 0.1 for i in range(1000)], dtype=torch.float64).numpy()
    initial, updates = ema_coefficients(decays)
    assert initial + updates.sum() == pytest.approx(1, abs=1e-14)
    assert initial == pytest.approx(0.2224608, abs=1e-7)
    assert ema.tau_iter(0.03, 0.1) / 1000 == pytest.approx(1 / 3)


@pytest.mark.parametrize("factor", [2.0, 10.0, 0.1])
def test_10_scale_symmetry_2405_13698_in_a_real_adamw(factor: float) -> None:
    """Scale-invariant weights: (lr, λ, init, eps) -> (c lr, λ / c, c init, eps / c) leaves every direction unchanged.

    A real torch.optim.AdamW in float64 on a normalised two-layer net; without rescaling the init directions differ.
    """
    lr, decay, eps = 1e-2, 0.1, 1e-8
    plain = _directions(lr, decay, eps, scale=1.0)
    scaled = _directions(factor * lr, decay / factor, eps / factor, scale=factor)
    unscaled = _directions(factor * lr, decay / factor, eps / factor, scale=1.0)
    assert torch.max(torch.abs(plain - scaled)).item() < 1e-9
    assert torch.max(torch.abs(plain - unscaled)).item() > 1e-2


def _directions(lr: float, weight_decay: float, eps: float, scale: float) -> torch.Tensor:
    """Unit rows of a weight that only its direction matters of, after 200 steps."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(scale * 0.5 * torch.randn(8, 16, dtype=torch.float64, generator=generator))
    inputs = torch.randn(200, 32, 16, dtype=torch.float64, generator=generator)
    target = torch.randn(8, 16, dtype=torch.float64, generator=generator)
    optimizer = torch.optim.AdamW([weight], lr=lr, weight_decay=weight_decay, eps=eps)
    for x in inputs:
        rows = torch.nn.functional.normalize(weight, dim=1)
        loss = ((x @ rows.T - torch.tanh(x @ target.T)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.nn.functional.normalize(weight.detach(), dim=1)


@pytest.mark.parametrize(
    ("total", "non_embedding", "lr", "steps", "decay"),
    [(140_967_936, 63_700_992, 1.225e-3, 43_020, 0.0759), (664_141_824, None, 4.197e-4, 202_680, 0.0470)],
)
def test_14_adana_2602_05298(total: float, non_embedding: float | None, lr: float, steps: float, decay: float) -> None:
    """Enoki sizes h = 12 and 24: 20 tokens per total parameter at batch 65,536, λ = 4 / (lr * steps), tau a quarter."""
    if non_embedding:
        assert LAWS["adana-enoki"].peak_lr(non_embedding, 20 * total, 65_536) == pytest.approx(lr, rel=1e-3)
    run = TrainingRun(
        dataset_size=20 * total,
        batch_size=65_536,
        peak_lr=lr,
        num_params=total,
        schedule="cosine",
        final_lr_fraction=0.1,
        warmup_fraction=0.02,
    )
    assert run.total_steps == pytest.approx(steps, rel=1e-4)
    assert Adana().target_timescale(run).run == 0.25
    assert recommend(run, "adana").weight_decay == pytest.approx(decay, rel=1e-2)


NANOCHAT = [
    (0.25, 2**18, 0.70711, 0.79196),
    (0.5, 2**19, 1, 0.56),
    (1, 2**19, 1, 0.28),
    (2, 2**19, 1, 0.14),
    (4, 2**20, 1.41421, 0.098995),
    (8, 2**20, 1.41421, 0.049497),
    (16, 2**21, 2, 0.035),
]


@pytest.mark.parametrize(("data", "batch", "lr_factor", "decay"), NANOCHAT)
def test_15_nanochat_carries_its_reference(data: float, batch: float, lr_factor: float, decay: float) -> None:
    """λ = 0.28 * sqrt(B / B_ref) * D_ref / D from the d12 reference: tau stays, as constant-tau-epoch carries it."""
    reference = TrainingRun(dataset_size=2e9, batch_size=2**19, peak_lr=0.02, weight_decay=0.28)
    run = TrainingRun(dataset_size=data * 2e9, batch_size=batch, peak_lr=0.02 * lr_factor)
    advice = recommend(run, "constant-tau-epoch", reference=reference)
    assert advice.weight_decay == pytest.approx(decay, rel=1e-4)


def test_18_completed_p_2512_22382() -> None:
    """lr and λ x 0.632456, eps x 1.581139, 1 - beta x 0.4, steps x 2.5, tau x 1 at m_B 4, m_D 10."""
    factors = scaling.completed_p(4, 10)
    assert factors == pytest.approx((0.632456, 0.632456, 1.581139, 0.4, 2.5), rel=1e-6)
    assert factors.lr * factors.weight_decay * factors.steps == pytest.approx(1)
    reference = TrainingRun(dataset_size=1.6e9, batch_size=65_536, peak_lr=4e-3, weight_decay=0.2, num_params=50e6)
    run = TrainingRun(dataset_size=16e9, batch_size=4 * 65_536, num_params=50e6)
    advice = recommend(run, "complete-d-p", reference=reference)
    assert advice.peak_lr == pytest.approx(4e-3 * 0.632456, rel=1e-6)
    assert advice.weight_decay == pytest.approx(0.2 * 0.632456, rel=1e-6)
    transfer = advice.companions.reference
    assert transfer
    assert transfer.betas == pytest.approx((1 - 0.1 * 0.4, 1 - 0.05 * 0.4))
    assert transfer.eps == pytest.approx(1e-8 * 1.581139, rel=1e-6)


def test_19_completep_2505_01618_table_1() -> None:
    """m_N = 4, m_L = 2: hidden lr x 0.25, wd x 4, init variance x 0.25, eps x 0.125, output x 0.25, residual x 0.5."""
    part = PARAMETRIZATIONS["completep"]
    groups = part.multipliers(4, 2)
    assert groups["hidden"] == Multipliers(0.25, 4, eps=0.125, init_variance=0.25)
    assert part.multipliers(4, 1)["hidden"].eps == 0.25
    assert groups["output"] == Multipliers(forward=0.25)
    assert groups["embedding"] == Multipliers()
    assert part.residual(2) == 0.5
    assert part.timescale_drift(4, 2) == 1


@pytest.mark.parametrize(
    ("name", "factor"), [("mup", 4), ("mup-sqrt-width", 2), ("mup-constant-decay", 1), ("mup-as-shipped", 1)]
)
def test_19_hidden_decay_at_four_times_the_width(name: str, factor: float) -> None:
    """Wang & Aitchison 2405.13698 x 4, Fan 2510.15262 x 2, Qiu 2512.05620 x 1: the timescale drifts by the rest."""
    part = PARAMETRIZATIONS[name]
    assert part.multipliers(4, 1)["hidden"].weight_decay == pytest.approx(factor)
    assert part.timescale_drift(4, 1) == pytest.approx(4 / factor)


@pytest.mark.parametrize(
    ("width_ratio", "expected"),
    [
        (4, {0: 0.25, 1000: 0.2744, 5000: 0.3917, 20_000: 0.8857, 50_000: 0.9997}),
        (2, {0: 0.5, 1000: 0.5379, 5000: 0.6895, 20_000: 0.9736, 50_000: 0.9999}),
    ],
)
def test_20_kosson_2510_19093_implicit_warmup(width_ratio: float, expected: dict[float, float]) -> None:
    """(1 + (m² - 1) a^2t)^-1/2 at lr * λ = 1e-4."""
    for step, value in expected.items():
        assert ema.implicit_warmup(width_ratio, 10_000, step) == pytest.approx(value, abs=1e-4)


def test_21_ten_times_the_duration() -> None:
    """At fixed lr, N, B: Power Lines x 0.336512, Wang & Aitchison x 0.1; with B ~ D^0.383 Power Lines x 0.812831."""
    reference = TrainingRun(dataset_size=10e9, batch_size=2**19, peak_lr=3e-4, num_params=500e6, weight_decay=0.1)
    longer = reference.model_copy(update={"dataset_size": 100e9, "weight_decay": None})
    bigger = longer.model_copy(update={"batch_size": 2**19 * 10**0.383})
    assert recommend(longer, "power-lines", reference=reference).weight_decay == pytest.approx(0.0336512, rel=1e-5)
    assert recommend(longer, "constant-tau-epoch", reference=reference).weight_decay == pytest.approx(0.01)
    assert recommend(bigger, "power-lines", reference=reference).weight_decay == pytest.approx(0.0812831, rel=1e-5)


def test_22_kim_2509_14786_and_req_2305_17212() -> None:
    """1.4B: lr 1e-3, λ 3.2 over 6400 steps of 8 epochs. REQ: CIFAR-10, batch 128, lr 0.05, λ 0.01, 200 epochs."""
    kim = TrainingRun(dataset_size=800 * 262144, batch_size=262144, epochs=8, peak_lr=1e-3).timescale_of(3.2)
    assert (kim.iters, kim.run, kim.epochs) == pytest.approx((312.5, 0.048828, 0.390625), rel=1e-4)
    images = TrainingRun(unit="samples", dataset_size=45_000, batch_size=128, epochs=200, peak_lr=0.05)
    req = images.timescale_of(0.01)
    assert (req.iters, req.epochs, req.run) == pytest.approx((2000, 5.6889, 0.028444), rel=1e-4)


@pytest.mark.parametrize(
    ("size", "lr", "decay", "batch", "tau"),
    [
        (130e6, 0.008, 0.1, 524_288, 0.252062),
        (300e6, 0.008, 0.1, 524_288, 0.109227),
        (520e6, 0.004, 0.2, 1_048_576, 0.126031),
        (1.2e9, 0.002, 0.2, 1_048_576, 0.109227),
    ],
)
def test_23_fantastic_optimizers_2509_02046(size: float, lr: float, decay: float, batch: float, tau: float) -> None:
    """Tuned AdamW at 20 tokens per parameter."""
    run = TrainingRun(dataset_size=20 * size, batch_size=batch, peak_lr=lr)
    assert run.timescale_of(decay).run == pytest.approx(tau, rel=1e-5)


@pytest.mark.parametrize(
    ("ratio", "lr", "decay", "betas"),
    [(0.25, 0.002, 0.1, (0.0125, 0.005)), (1, 0.004, 0.2, (0.05, 0.02)), (4, 0.008, 0.4, (0.2, 0.08))],
)
def test_24_marin_completed_cadamc(ratio: float, lr: float, decay: float, betas: tuple[float, float]) -> None:
    """H = 1024, r = batch over duration: lr and λ ~ sqrt(r), 1 - beta ~ r; its fifth version keeps λ at 0.2."""
    reference = TrainingRun(dataset_size=8e9, batch_size=524_288, peak_lr=0.004, weight_decay=0.2, betas=(0.95, 0.98))
    run = TrainingRun(dataset_size=8e9 / ratio, batch_size=524_288, betas=(0.95, 0.98))
    advice = recommend(run, "complete-d-p", reference=reference)
    assert (advice.peak_lr, advice.weight_decay) == pytest.approx((lr, decay))
    scaled = scaling.completed_p(1, 1 / ratio).one_minus_beta
    assert (0.05 * scaled, 0.02 * scaled) == pytest.approx(betas)
    fifth = recommend(run.model_copy(update={"peak_lr": lr}), "fixed", reference=reference)
    assert fifth.weight_decay == pytest.approx(0.2)


def test_mass_of_power_lines_and_adana_agree_at_20_tokens_per_parameter() -> None:
    """0.5 / 0.2236 against 0.55 / 0.25: two laboratories, two schedules, one decay mass of 2.2."""
    assert ema.decay_mass(0.5, PowerLines().tau_run(20)) == pytest.approx(2.24, abs=0.01)
    assert ema.decay_mass(Schedule("cosine", final_lr_fraction=0.1).mean(), 0.25) == pytest.approx(2.2)
    assert math.isclose(Adana().fitted_schedule_mean or 0, Schedule("cosine", 0.02, 0.1).mean(), rel_tol=1e-6)
