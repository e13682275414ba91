"""What published laws say about peak learning rate and batch size, for people who have neither.

N is the number of parameters, D the tokens of the whole run, B the tokens of one optimizer step, and
C = 6 * N * D the training compute in FLOPs. Each law is one entry of `LAWS`; a new law is one more. A law's
learning rate belongs to the batch the law itself asks for, unless its formula has B in it.

The laws disagree about data, and each is right in its own setting: with the batch free to grow, the best
learning rate rises with D (Step Law); with the batch fixed it falls (arXiv:2409.19913, unverified here). Ask
which of the two a run does before believing either.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from adamw_scale.units import format_count

CHINCHILLA_TOKENS_PER_PARAM = 20.0


class Span(NamedTuple):
    """The interval that a law was fitted on, of something that follows from (N, D)."""

    what: str
    of: Callable[[float, float], float]
    low: float
    high: float  # infinite where the source sets no limit
    show: Callable[[float], str] = format_count

    def describe_outside(self, num_params: float, total_tokens: float) -> list[str]:
        """Empty inside the interval, else one clause naming the value and the end it has passed."""
        value = self.of(num_params, total_tokens)
        if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9):
            return []
        side, end = ("below", self.low) if value < self.low else ("above", self.high)
        return [f"{self.what} {self.show(value)} is {side} {self.show(end)}"]


class LrLaw(NamedTuple):
    """A published law for the peak learning rate, and mostly for the batch size too."""

    formula: str
    source: str  # authors, year, arXiv id; the name alone where no paper was read
    certainty: str  # where it was read, and what of it was not verified
    fitted_on: str  # models, data and schedule
    num_params_kind: Literal["non-embedding", "total"]  # what N counts
    peak_lr: Callable[[float, float, float], float]  # at (num_params, total_tokens, batch_size in tokens)
    batch_size: Callable[[float, float], float] | None  # tokens per step at (num_params, total_tokens)
    fitted: tuple[Span, ...]  # none where they were not read
    remark: str  # to know before using it

    def outside(self, num_params: float, total_tokens: float) -> list[str]:
        """Clauses for leaving the range the law was fitted on; empty inside."""
        if not self.fitted:
            return ["the range it was fitted on is unknown"]
        return [clause for span in self.fitted for clause in span.describe_outside(num_params, total_tokens)]


def _params(low: float, high: float) -> Span:
    return Span("number of parameters", lambda n, d: n, low, high)


def _tokens(low: float, high: float) -> Span:
    return Span("number of tokens", lambda n, d: d, low, high)


def _tokens_per_param(low: float, high: float) -> Span:
    return Span("tokens per parameter", lambda n, d: d / n, low, high)


def training_flops(num_params: float, total_tokens: float) -> float:
    """Compute of a training run: C = 6 * N * D FLOPs."""
    return 6.0 * num_params * total_tokens


def _step_law_lr(num_params: float, total_tokens: float, batch_size: float) -> float:
    """lr = 1.79 * N^-0.713 * D^0.307 (arXiv:2503.04715)."""
    return float(1.79 * num_params**-0.713 * total_tokens**0.307)


def _step_law_batch(num_params: float, total_tokens: float) -> float:
    """B = 0.58 * D^0.571 (arXiv:2503.04715)."""
    return float(0.58 * total_tokens**0.571)


def _deepseek_lr(num_params: float, total_tokens: float, batch_size: float) -> float:
    """lr = 0.3118 * C^-0.125 (arXiv:2401.02954).

    C is 6ND with all parameters here. The paper's is non-embedding FLOPs per token times tokens; 6ND gives the learning
    rates of its two models to 2 %, their batches to 3 %.
    """
    return float(0.3118 * training_flops(num_params, total_tokens) ** -0.125)


def _deepseek_batch(num_params: float, total_tokens: float) -> float:
    """B = 0.2920 * C^0.3271 (arXiv:2401.02954)."""
    return float(0.2920 * training_flops(num_params, total_tokens) ** 0.3271)


def _porian_lr(num_params: float, total_tokens: float, batch_size: float) -> float:
    """lr = 3.7 * N^-0.36 (arXiv:2406.19146).

    N counts the output head and not the input embedding: all parameters of a model that ties the two.
    """
    return float(3.7 * num_params**-0.36)


def _porian_batch(num_params: float, total_tokens: float) -> float:
    """B = 0.7576 * N^0.703 (arXiv:2406.19146)."""
    return float(0.7576 * num_params**0.703)


LADDER_PARAMS, LADDER_LR, LADDER_BATCH = 108e6, 0.0047, 2048 * 160
"""The size that the OLMo-core ladder scales from, with its learning rate and its batch in tokens."""


def _ladder_lr(num_params: float, total_tokens: float, batch_size: float) -> float:
    """lr = 0.0047 / 2 * (N / 108M)^(-1/3) / sqrt(max(1, D / 20N)) (OLMo-core's code).

    The code halves because of its WSD schedule. It divides by the square root only where its schedule is stepped, which
    is not its default, but says beside the formula that the length of the run should count.
    """
    multiple = total_tokens / (CHINCHILLA_TOKENS_PER_PARAM * num_params)
    lr = LADDER_LR / 2 * (num_params / LADDER_PARAMS) ** (-1 / 3)
    return float(lr / math.sqrt(max(1.0, multiple)))


def _ladder_batch(num_params: float, total_tokens: float) -> float:
    """B = 2048 * 160 * (N / 108M)^(2/3) (OLMo-core's code)."""
    return float(LADDER_BATCH * (num_params / LADDER_PARAMS) ** (2 / 3))


def _moonlight_lr(num_params: float, total_tokens: float, batch_size: float) -> float:
    """lr = 0.0127 * C^-0.057; that C is 6ND is assumed."""
    return float(0.0127 * training_flops(num_params, total_tokens) ** -0.057)


def _moonlight_batch(num_params: float, total_tokens: float) -> float:
    """B = 0.0065 * C^0.4138; that C is 6ND and B is in tokens is assumed."""
    return float(0.0065 * training_flops(num_params, total_tokens) ** 0.4138)


ENOKI_ADAMW = {65_536: (12.8, 1.67e4, -0.515), 1_048_576: (16.7, 1.58e7, -0.464)}
"""By batch in tokens, (a, b, c) of lr = a * (b + N)^c for AdamW on the "Enoki" models of arXiv:2602.05298."""


def _enoki_lr(num_params: float, total_tokens: float, batch_size: float) -> float:
    """The fit of `ENOKI_ADAMW` whose batch is nearest by ratio (arXiv:2602.05298)."""
    a, b, c = ENOKI_ADAMW[min(ENOKI_ADAMW, key=lambda fitted: abs(math.log(batch_size / fitted)))]
    return float(a * (b + num_params) ** c)


def enoki_total_params(num_params: float) -> float:
    """All parameters of an Enoki model with N outside its two embeddings (arXiv:2602.05298).

    With h heads of 64 dimensions and 3h/4 layers, N = 12 * (64h)^2 * 3h/4 = 36864 * h^3; the embedding and the
    unembedding of 50304 tokens add 2 * 50304 * 64h.

    Example:
        >>> round(enoki_total_params(63_700_992))
        140967936
    """
    heads = (num_params / 36_864) ** (1 / 3)
    return float(num_params + 2 * 50_304 * 64 * heads)


NEAR_CHINCHILLA = (CHINCHILLA_TOKENS_PER_PARAM / 2, CHINCHILLA_TOKENS_PER_PARAM * 2)
"""Tokens per parameter for laws fitted at 20 only; the factor 2 to either side is judgement."""

LAWS: dict[str, LrLaw] = {
    "step-law": LrLaw(
        formula="lr = 1.79 * N^-0.713 * D^0.307, batch = 0.58 * D^0.571",
        source="Li et al. 2025, arXiv:2503.04715",
        certainty="published law, read in the authors' repository and in secondary sources; unverified: its λ of 0.1",
        fitted_on="dense models of 215M–1.07B on 4B–100B tokens, and mixtures of experts; cosine to a fixed 1e-5, "
        "2000 warm-up steps, 3700 runs",
        num_params_kind="non-embedding",
        peak_lr=_step_law_lr,
        batch_size=_step_law_batch,
        fitted=(_params(215e6, 1.07e9), _tokens(4e9, 100e9)),
        remark="the lr rises with data because the batch rises too: with the batch fixed, arXiv:2409.19913 found it to "
        "fall, as D^-0.3 to D^-0.7 (unverified)",
    ),
    "deepseek": LrLaw(
        formula="lr = 0.3118 * C^-0.125, batch = 0.2920 * C^0.3271, C = 6 * N * D",
        source="DeepSeek-AI 2024, arXiv:2401.02954",
        certainty="published law, read in the paper; unverified: the range of compute it was fitted on",
        fitted_on="compute of 1e17–2e19 FLOPs (unverified), multi-step schedule, λ 0.1, betas 0.9 and 0.95",
        num_params_kind="total",
        peak_lr=_deepseek_lr,
        batch_size=_deepseek_batch,
        fitted=(Span("compute in FLOPs", training_flops, 1e17, 2e19, "{:.2g}".format),),
        remark="it follows compute alone, so it cannot tell a larger model from more data; its authors used it far "
        "above the fit, at 7B and 67B parameters on 2T tokens",
    ),
    "porian": LrLaw(
        formula="lr = 3.7 * N^-0.36, batch = 0.7576 * N^0.703",
        source="Porian et al. 2024, arXiv:2406.19146",
        certainty="published law, read in secondary sources; the values per size in the authors' code agree, lr to "
        "10 %, batch to 17 %; unverified: that its lr-independent λ was about 1e-4",
        fitted_on="models of 5M–902M, 20 tokens per parameter, constant lr; sizes of the sweep itself not read",
        num_params_kind="total",
        peak_lr=_porian_lr,
        batch_size=_porian_batch,
        fitted=(_params(5.17e6, 902e6), _tokens_per_param(*NEAR_CHINCHILLA)),
        remark="N leaves out the input embedding where it is not tied to the output head",
    ),
    "olmo-ladder": LrLaw(
        formula="lr = 0.0047 / 2 * (N / 108M)^(-1/3) / sqrt(max(1, D / 20N)), batch = 327680 * (N / 108M)^(2/3)",
        source="OLMo-core's model ladder (code)",
        certainty="practice, read in the code: not a fit, but the values of arXiv:2406.19146 at 108M, carried to other "
        "sizes, the peak halved by experience",
        fitted_on="not fitted: the ladder's sizes go from 190M to 13B, its formula starts at 108M; WSD schedule, "
        "λ 0.1, beta2 0.95 from 524,288 tokens per batch on, else 0.99",
        num_params_kind="non-embedding",
        peak_lr=_ladder_lr,
        batch_size=_ladder_batch,
        fitted=(_params(LADDER_PARAMS, 13e9), _tokens_per_param(10.0, math.inf)),
        remark="the fall with sqrt(D / 20N) is the code's stepped schedule, which is off by default",
    ),
    "moonlight": LrLaw(
        formula="lr = 0.0127 * C^-0.057, batch = 0.0065 * C^0.4138, C = 6 * N * D",
        source="Moonlight's own sweeps, as secondary sources tabulate them",
        certainty="unverified: read in a secondary source only; what C and N count there is assumed",
        fitted_on="the authors' own sweeps; models, range and schedule not read",
        num_params_kind="non-embedding",
        peak_lr=_moonlight_lr,
        batch_size=_moonlight_batch,
        fitted=(),
        remark="its lr hardly moves: a tenth less for six times the compute",
    ),
    "adana-enoki": LrLaw(
        formula="lr = 12.8 * (16700 + N)^-0.515 near 65,536 tokens per batch, 16.7 * (1.58e7 + N)^-0.464 near 1.05M",
        source="Ferbach et al. 2026, arXiv:2602.05298",
        certainty="fits at two batch sizes: the one at 65,536 tokens read in the authors' code; the one at 1.05M "
        "unverified, since some versions of that code leave it empty",
        fitted_on="AdamW baseline on models of 46M–2.6B (total) on FineWeb, 20 tokens per total parameter, cosine to "
        "a tenth, 2 % warm-up, betas 0.9 and 0.999, λ = 4 / (lr * steps); which sizes the fit used was not read",
        num_params_kind="non-embedding",
        peak_lr=_enoki_lr,
        batch_size=None,
        fitted=(
            _params(7.07e6, 2.36e9),
            Span("tokens per total parameter", lambda n, d: d / enoki_total_params(n), *NEAR_CHINCHILLA),
        ),
        remark="its batch was set, not tuned, and between the two batch sizes the lr jumps",
    ),
}
