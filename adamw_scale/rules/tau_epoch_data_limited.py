"""Language models with fewer data than parameters: a constant timescale in epochs, from tuned optima."""

from dataclasses import dataclass

from adamw_scale.rules.constant_tau_epoch import ConstantTauEpoch
from adamw_scale.rules.rule import Bounds
from adamw_scale.spec.run import TrainingRun


@dataclass(frozen=True)
class TauEpochDataLimited(ConstantTauEpoch):
    """tau_epoch = 0.3 for language models that see few unique tokens many times.

    Use it when: at least 4 epochs over fewer than about 5 unique tokens per parameter.
    Do not use it when: the data suffice for one or two passes (`power-lines`).

    Known: 16 jointly tuned optima (150M–1.4B parameters, 210M–1.7B unique tokens, 8–64 epochs): λ
    spans 32x, tau_epoch 2.7x, geometric mean 0.29, standard deviation 0.49 octave.
    Assumed: it holds elsewhere. One laboratory; lr, λ and epochs were tuned together on coarse
    grids; small byte-level models have their optimum at far longer timescales. Calibrate.

    Source: Kim et al. 2025, arXiv:2509.14786, released configurations (see `evidence`).
    """

    name = "tau-epoch-data-limited"
    title = "constant timescale in epochs where data are scarce"
    formula = "tau_epoch = 0.3"
    source = "geometric mean of 16 tuned optima of Kim et al. 2025, arXiv:2509.14786"
    certainty = "measured optima of one laboratory"
    built_from = ("2509.14786",)
    fitted_on = "language models of 150M–1.4B, 210M–1.7B unique tokens, cosine to zero"
    fitted_schedule_mean = 0.5

    tau_epoch: float = 0.3
    epochs_fitted = Bounds(8, 64)
    sizes_fitted = Bounds(150e6, 1.4e9)
    unique_tokens_per_param_fitted = Bounds(0.15, 11.2)

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Epochs, parameters or unique tokens per parameter outside those of the 16 optima."""
        reasons = super().outside_domain(run)
        if run.num_params is not None and run.unique_tokens_per_param is not None:
            reasons += self.sizes_fitted.describe_outside(run.num_params, "number of parameters")
            reasons += self.unique_tokens_per_param_fitted.describe_outside(
                run.unique_tokens_per_param, "unique tokens per parameter"
            )
        return reasons
