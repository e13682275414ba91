"""Power law refitted on the Step Law sweep's public runs: the competitor of Power Lines."""

from dataclasses import dataclass

from adamw_scale.rules.power_lines import PowerLines
from adamw_scale.rules.rule import Bounds


@dataclass(frozen=True)
class StepLawRefit(PowerLines):
    """tau_run = 1.096 * tokens_per_param ** -0.581, at most 1.

    Use it when: a second opinion on `power-lines` from another laboratory is wanted.
    Do not use it when: a law for weight decay proper is needed. The sweep varied lr and batch at a
    fixed weight decay, so this says where the best (lr, batch) put the timescale, not that decay
    was tuned.

    Known: exponent, from 1911 dense runs at 215M to 1.07B parameters.
    Assumed: num_params counts non-embedding parameters, as that paper does.
    Unverified: the coefficient assumes that the sweep used λ = 0.1; it scales as 0.1/λ.

    Source: lower envelope of loss against tau over the runs released with arXiv:2503.04715.
    """

    name = "steplaw-refit"
    title = "power law refitted on the Step Law runs"
    formula = "tau_run = 1.096 * (tokens / param)^-0.581"
    source = "refit of the runs released with arXiv:2503.04715"
    certainty = "unverified: lr and batch tuned at fixed decay, assumed to be 0.1"
    built_from = ("2503.04715",)
    fitted_on = "dense models of 215M–1.07B, cosine to 1e-5, lr and batch varied"
    fitted_parametrization = "standard"
    num_params_kind = "non-embedding"
    num_params_fitted = Bounds(215e6, 1.07e9)

    coefficient: float = 1.096
    exponent: float = -0.581
    tokens_per_param_fitted = Bounds(19, 466)
