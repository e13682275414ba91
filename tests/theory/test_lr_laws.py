"""Published laws of learning rate and batch size, against the numbers their sources give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.theory import timescale as ema
from adamw_scale.theory.lr_laws import ENOKI_ADAMW, LAWS, enoki_total_params

sizes = st.floats(1e6, 1e12)
tokens = st.floats(1e8, 1e14)
batches = st.floats(1e3, 1e8)

ENOKI_BATCH = 65_536


@pytest.mark.parametrize(
    ("num_params", "total_tokens", "lr", "batch"),
    [(1e9, 2e10, 9.9602e-4, 441_892), (1e9, 1e11, 1.6325e-3, 1.10771e6), (215e6, 11.4e9, 2.5078e-3, 320_568)],
)
def test_step_law_2503_04715(num_params: float, total_tokens: float, lr: float, batch: float) -> None:
    """lr = 1.79 N^-0.713 D^0.307, B = 0.58 D^0.571."""
    law = LAWS["step-law"]
    assert law.peak_lr(num_params, total_tokens, batch) == pytest.approx(lr, rel=5e-5)
    assert law.batch_size is not None
    assert law.batch_size(num_params, total_tokens) == pytest.approx(batch, rel=5e-6)
    assert not law.outside(num_params, total_tokens)


@pytest.mark.parametrize(
    ("num_params", "lr", "batch", "published_lr", "published_batch"),
    [(6.9e9, 4.2572e-4, 9.1595e6, 4.2e-4, 9.44e6), (67e9, 3.2042e-4, 1.9266e7, 3.2e-4, 1.887e7)],
    ids=["7B", "67B"],
)
def test_deepseek_2401_02954_table(
    num_params: float, lr: float, batch: float, published_lr: float, published_batch: float
) -> None:
    """C = 6ND at 2T tokens: the formula's digits, and the two models it was used for."""
    law = LAWS["deepseek"]
    assert law.batch_size is not None
    assert law.peak_lr(num_params, 2e12, batch) == pytest.approx(lr, rel=1.5e-5)
    assert law.batch_size(num_params, 2e12) == pytest.approx(batch, rel=1e-5)
    assert lr == pytest.approx(published_lr, rel=0.02)
    assert batch == pytest.approx(published_batch, rel=0.03)
    (clause,) = law.outside(num_params, 2e12)
    assert clause.endswith("is above 2e+19")


def test_deepseek_2401_02954_at_1e20_flops() -> None:
    """lr 9.860e-4 and 1.017M tokens, however parameters and tokens share the compute."""
    law = LAWS["deepseek"]
    assert law.batch_size is not None
    for num_params in (1e8, 1e9):
        total_tokens = 1e20 / (6 * num_params)
        assert law.peak_lr(num_params, total_tokens, 1e6) == pytest.approx(9.860e-4, rel=5e-5)
        assert law.batch_size(num_params, total_tokens) == pytest.approx(1.017e6, rel=5e-4)


@pytest.mark.parametrize(("num_params", "lr", "batch"), [(1e8, 4.878e-3, 3.1874e5), (1e9, 2.129e-3, 1.6086e6)])
def test_porian_2406_19146(num_params: float, lr: float, batch: float) -> None:
    """lr = 3.7 N^-0.36, B = 0.7576 N^0.703."""
    law = LAWS["porian"]
    assert law.batch_size is not None
    assert law.peak_lr(num_params, 20 * num_params, batch) == pytest.approx(lr, rel=1e-4)
    assert law.batch_size(num_params, 20 * num_params) == pytest.approx(batch, rel=2e-5)


@pytest.mark.parametrize(
    ("num_params", "lr", "sequences"),
    [(5_173_248, 1.30e-2, 20), (22_487_040, 8.0e-3, 56), (108_462_080, 4.7e-3, 160), (901_726_208, 2.4e-3, 640)],
)
def test_porian_2406_19146_values_in_the_code(num_params: float, lr: float, sequences: int) -> None:
    """What the authors' code trained each size with, in sequences of 2048 tokens."""
    law = LAWS["porian"]
    assert law.batch_size is not None
    assert law.peak_lr(num_params, 20 * num_params, sequences * 2048) == pytest.approx(lr, rel=0.1)
    assert law.batch_size(num_params, 20 * num_params) == pytest.approx(sequences * 2048, rel=0.15)
    assert not law.outside(num_params, 20 * num_params)


def test_olmo_core_ladder() -> None:
    """At 108M: 327,680 tokens and half of 0.0047; half of that again at four times 20 tokens per parameter."""
    law, num_params = LAWS["olmo-ladder"], 108e6
    assert law.batch_size is not None
    assert law.batch_size(num_params, 20 * num_params) == pytest.approx(327_680)
    assert law.peak_lr(num_params, 20 * num_params, 327_680) == pytest.approx(0.00235)
    assert law.peak_lr(num_params, 80 * num_params, 327_680) == pytest.approx(0.00235 / 2)
    assert law.peak_lr(num_params, 10 * num_params, 327_680) == pytest.approx(0.00235), "a short run gets no more"
    assert law.outside(num_params, 5 * num_params) == ["tokens per parameter 5 is below 10"]


@pytest.mark.parametrize(
    ("num_params", "total_params", "lr", "steps", "weight_decay"),
    [(63_700_992, 140_967_936, 1.225e-3, 43_020, 0.0759), (509_607_936, 664_141_824, 4.197e-4, 202_680, 0.0470)],
    ids=["12 heads", "24 heads"],
)
def test_adana_enoki_2602_05298(
    num_params: float, total_params: float, lr: float, steps: float, weight_decay: float
) -> None:
    """Two sizes of the ladder: lr, and with it the authors' λ = 4 / (lr * steps), a timescale of 0.25 of the run."""
    law, total_tokens = LAWS["adana-enoki"], 20 * total_params
    peak_lr = law.peak_lr(num_params, total_tokens, ENOKI_BATCH)
    assert peak_lr == pytest.approx(lr, rel=5e-4)
    assert enoki_total_params(num_params) == pytest.approx(total_params)
    assert total_tokens / ENOKI_BATCH == pytest.approx(steps)
    assert ema.weight_decay(peak_lr, 0.25 * steps) == pytest.approx(weight_decay, abs=5e-5)
    assert law.batch_size is None
    assert not law.outside(num_params, total_tokens)


@given(num_params=sizes, batch=batches)
def test_adana_enoki_takes_the_nearest_batch_by_ratio(num_params: float, batch: float) -> None:
    """Up to the geometric mean of both batch sizes, 262,144 tokens, the small one's fit; then the large one's."""
    a, b, c = ENOKI_ADAMW[65_536 if batch <= 262_144 else 1_048_576]
    assert LAWS["adana-enoki"].peak_lr(num_params, 20 * num_params, batch) == a * (b + num_params) ** c


def test_moonlight_as_tabulated() -> None:
    """The formula's own digits, worked by hand at C = 1e20: 0.0127 * 10^-1.14 and 0.0065 * 10^8.276."""
    law = LAWS["moonlight"]
    assert law.batch_size is not None
    assert law.peak_lr(1e9, 1e20 / 6e9, 1e6) == pytest.approx(0.0127 * 0.0724436, rel=1e-5)
    assert law.batch_size(1e9, 1e20 / 6e9) == pytest.approx(0.0065 * 1.887991e8, rel=1e-5)
    assert law.outside(1e9, 1e10) == ["the range it was fitted on is unknown"]


def test_all_laws_agree_within_a_factor_four_where_they_overlap() -> None:
    """500M parameters at 20 tokens each: all six learning rates, and all five batches, lie that close."""
    num_params, total_tokens = 5e8, 1e10
    lrs = [law.peak_lr(num_params, total_tokens, 3e5) for law in LAWS.values()]
    batch_sizes = [law.batch_size(num_params, total_tokens) for law in LAWS.values() if law.batch_size]
    assert max(lrs) / min(lrs) < 4
    assert max(batch_sizes) / min(batch_sizes) < 4


@pytest.mark.parametrize("name", LAWS)
@given(num_params=sizes, total_tokens=tokens, batch=batches)
def test_every_law_answers_everywhere(name: str, num_params: float, total_tokens: float, batch: float) -> None:
    """Positive numbers, and more parameters never ask for a higher learning rate."""
    law = LAWS[name]
    lr = law.peak_lr(num_params, total_tokens, batch)
    assert lr > 0
    assert law.peak_lr(2 * num_params, 2 * total_tokens, batch) <= lr
    assert law.batch_size is None or law.batch_size(num_params, total_tokens) > 0
    assert all(clause == clause.strip() and clause for clause in law.outside(num_params, total_tokens))


@pytest.mark.parametrize("name", LAWS)
def test_every_law_says_where_it_comes_from(name: str) -> None:
    """No empty text, one clause per remark, and "unverified" wherever a part was not read at its source."""
    law = LAWS[name]
    assert all([law.formula, law.source, law.certainty, law.fitted_on, law.remark])
    assert not law.remark.endswith(".")
    assert "unverified" in law.certainty or name == "olmo-ladder"


def test_step_law_names_the_opposite_finding() -> None:
    """Its lr rises with data; whoever holds the batch fixed is told that others found the opposite."""
    law = LAWS["step-law"]
    assert law.peak_lr(1e9, 2e11, 1e6) > law.peak_lr(1e9, 2e10, 1e6)
    assert "2409.19913" in law.remark
    assert law.outside(7e9, 2e12) == [
        "number of parameters 7B is above 1.07B",
        "number of tokens 2T is above 100B",
    ]
