"""Power Lines: the timescale as a power law of tokens per parameter (arXiv:2505.13738)."""

from dataclasses import dataclass

from adamw_scale.rules.rule import Bounds, Rule, other_unit, tokens_per_param
from adamw_scale.spec.run import Timescale, TrainingRun


@dataclass(frozen=True)
class PowerLines(Rule):
    """tau_run = coefficient * tokens_per_param ** exponent, at most 1.

    Use it when: pretraining a language model in one or two passes at 20 to 1280 tokens per parameter.
    Do not use it when: data repeat many times (it decays far too little), or the batch is beyond the
    critical batch size (the optimum drifts).

    Known: coefficient and exponent, from about 400 runs at 111M to 3.3B parameters (R² 0.975).
    Assumed: num_params counts all parameters; peak_lr is the lr applied to hidden matrices.
    Unverified: standard parametrization, WSD, mixture of experts.
    Disputed: the level. Tuned single-pass optima of four other sources (see `evidence`) lie at 0.5 to 0.9 of it.

    Source: Bergsma et al. 2025, arXiv:2505.13738, equations 2 to 4.
    """

    name = "power-lines"
    title = "power law in tokens per parameter"
    formula = "tau_run = 1.084 * (tokens / param)^-0.527"
    source = "Bergsma et al. 2025, arXiv:2505.13738"
    certainty = "published law, decay tuned"
    built_from = ("2505.13738",)
    fitted_on = "GPT-2-like models of 111M–3.3B, SlimPajama, muP, linear decay to zero"
    fitted_schedule_mean = 0.5
    fitted_parametrization = "mup"
    num_params_kind = "total"
    num_params_fitted = Bounds(111e6, 3.3e9)

    coefficient: float = 1.084
    exponent: float = -0.527
    max_tau_run: float = 1.0
    tokens_per_param_fitted = Bounds(20, 1280)
    epochs_fitted = Bounds(0, 2)

    def tau_run(self, tokens_per_param: float) -> float:
        """The published law, before it is clamped: fraction of the run at a tokens-per-parameter ratio.

        Example:
            >>> round(PowerLines().tau_run(20), 5)
            0.22356
        """
        return float(self.coefficient * tokens_per_param**self.exponent)

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The law's timescale, at most max_tau_run (below 1.2 tokens per parameter it would exceed the run)."""
        return run.timescale(run=min(self.max_tau_run, self.tau_run(tokens_per_param(self.name, run))))

    def derivation(self, run: TrainingRun) -> str:
        """The law with this run's tokens per parameter."""
        tpp = tokens_per_param(self.name, run)
        clamp = f", at most {self.max_tau_run:g}" if self.tau_run(tpp) > self.max_tau_run else ""
        return f"tau = {self.coefficient:.4g} · {tpp:.4g}^{self.exponent:g} = {self.tau_run(tpp):.4g} of the run{clamp}"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Tokens per parameter outside 20–1280, or more than two passes."""
        return [
            *self.tokens_per_param_fitted.describe_outside(tokens_per_param(self.name, run), "tokens per parameter"),
            *self.epochs_fitted.describe_outside(run.epochs, "number of epochs"),
            *other_unit(run, "tokens"),
        ]
