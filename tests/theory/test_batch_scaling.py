"""What moves with batch size and duration, against published numbers and against what each rule keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import SpecError
from adamw_scale.theory import batch_scaling as scaling
from adamw_scale.theory import timescale as ema

betas = st.floats(0.5, 0.9999)
ratios = st.floats(1 / 64, 64)
batches = st.floats(1e3, 1e8)


@pytest.mark.parametrize(
    ("batch", "beta2"),
    [
        (32_768, 0.997731),
        (131_072, 0.990956),
        (262_144, 0.981994),
        (524_288, 0.964312),
        (1_048_576, 0.929897),
        (2_097_152, 0.864708),
    ],
)
def test_beta2_half_life_of_ten_million_tokens_2507_07101(batch: float, beta2: float) -> None:
    """0.5^(B / 10M), and never below 0.9 where advice is given."""
    assert scaling.beta_for_half_life(batch, 1e7) == pytest.approx(beta2, abs=5e-7)
    assert scaling.beta2_for_batch(batch) == pytest.approx(max(beta2, 0.9), abs=5e-7)


def test_beta2_is_clamped_at_both_ends() -> None:
    """A batch of one short sequence stops at 0.9999."""
    assert scaling.beta2_for_batch(64) == 0.9999
    assert scaling.beta2_for_batch(1e9) == 0.9


@pytest.mark.parametrize(("k", "power", "sde"), [(2, 0.9025, 0.90), (0.5, 0.974679, 0.975)])
def test_beta2_power_2507_07101_and_sde_2205_10287(k: float, power: float, sde: float) -> None:
    """From 0.95, twice and half the batch."""
    assert scaling.beta_power(0.95, k) == pytest.approx(power, abs=5e-7)
    assert scaling.beta_sde(0.95, k) == pytest.approx(sde)


@pytest.mark.parametrize(("beta", "scaled"), [(0.9, 0.6), (0.95, 0.8), (0.999, 0.996)])
def test_sde_2205_10287_at_four_times_the_batch(beta: float, scaled: float) -> None:
    """Both betas; lr doubles, eps halves."""
    assert scaling.beta_sde(beta, 4) == pytest.approx(scaled)
    assert scaling.lr_sde(3e-4, 4) == pytest.approx(6e-4)
    assert scaling.eps_sde(1e-8, 4) == pytest.approx(5e-9)


@pytest.mark.parametrize("k", [10, 16])
def test_sde_beyond_its_reach_is_refused_in_words(k: float) -> None:
    """Beta 0.9 has nothing left at 10 times the batch."""
    with pytest.raises(SpecError, match=rf"beta 0\.9 has no SDE scaling to {k} times .* stay below 10 times"):
        scaling.beta_sde(0.9, k)


def test_completed_p_2512_22382_ten_times_the_tokens_at_four_times_the_batch() -> None:
    """lr and λ by 0.632456, eps by 1.581139, 1 - beta by 0.4, steps by 2.5."""
    assert scaling.completed_p(batch_ratio=4, duration_ratio=10) == pytest.approx(
        (0.632456, 0.632456, 1.581139, 0.4, 2.5), abs=5e-7
    )


@given(beta=betas, k=ratios)
def test_sde_keeps_one_minus_beta_per_token(beta: float, k: float) -> None:
    """(1 - beta) / batch, lr² / batch and eps² * batch stay; past its reach beta is refused."""
    if k * (1 - beta) < 0.999:
        assert (1 - scaling.beta_sde(beta, k)) / k == pytest.approx(1 - beta, rel=1e-6)
    elif k * (1 - beta) > 1:
        with pytest.raises(SpecError):
            scaling.beta_sde(beta, k)
    assert scaling.lr_sde(1e-3, k) ** 2 / k == pytest.approx(1e-6)
    assert scaling.eps_sde(1e-8, k) ** 2 * k == pytest.approx(1e-16)


@given(beta=st.floats(0.9, 0.9999), k=st.floats(0.1, 4))
def test_power_and_sde_agree_to_first_order(beta: float, k: float) -> None:
    """They differ by the square of k * (1 - beta) at most, and the power moves beta less at larger batches."""
    power, sde = scaling.beta_power(beta, k), scaling.beta_sde(beta, k)
    assert abs(power - sde) <= k * max(k, 1) * (1 - beta) ** 2
    assert (power - sde) * (k - 1) >= -1e-12


@given(batch_ratio=ratios, duration_ratio=ratios)
def test_completed_p_2512_22382_keeps_the_timescale(batch_ratio: float, duration_ratio: float) -> None:
    """lr * λ * steps stays, and steps are tokens over batch."""
    factors = scaling.completed_p(batch_ratio, duration_ratio)
    assert factors.lr * factors.weight_decay * factors.steps == pytest.approx(1)
    assert factors.steps == pytest.approx(duration_ratio / batch_ratio)
    before = ema.tau_iter(1e-3, 0.1) / 1000
    assert ema.tau_iter(1e-3 * factors.lr, 0.1 * factors.weight_decay) / (1000 * factors.steps) == pytest.approx(before)


@given(first=ratios, second=ratios, duration=ratios)
def test_completed_p_2512_22382_composes(first: float, second: float, duration: float) -> None:
    """Two changes of batch are one, and at fixed tokens lr and eps follow the SDE."""
    once = scaling.completed_p(first * second, duration)
    twice = zip(scaling.completed_p(first, duration), scaling.completed_p(second, 1), strict=True)
    assert once == pytest.approx(tuple(a * b for a, b in twice))
    assert scaling.completed_p(first, 1).lr == pytest.approx(scaling.lr_sde(1, first))
    assert scaling.completed_p(first, 1).eps == pytest.approx(scaling.eps_sde(1, first))


@given(k=st.floats(0.05, 20), batch=st.floats(1e4, 1e6), tokens=st.floats(1e6, 1e9))
def test_beta_power_keeps_the_half_life_in_tokens_2507_07101(k: float, batch: float, tokens: float) -> None:
    """Half of the second moment is forgotten in as many tokens at k times the batch."""
    beta = scaling.beta_for_half_life(batch, tokens)
    assert scaling.beta_power(beta, k) == pytest.approx(
        scaling.beta_for_half_life(k * batch, tokens), rel=1e-6, abs=1e-300
    )
