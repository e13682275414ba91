"""The law fitted to all evidence, as a rule beside the others."""

from dataclasses import dataclass

from adamw_scale.errors import MissingInputError
from adamw_scale.law import fitted
from adamw_scale.law.features import NAMES, features_of
from adamw_scale.law.posterior import Posterior
from adamw_scale.rules.rule import Bounds, Rule
from adamw_scale.spec.run import Timescale, TrainingRun


@dataclass(frozen=True)
class Law(Rule):
    """What all evidence together says of a run: the mean of `law.posterior`, whose 80 % interval is the range.

    Use it when: nothing else is asked for; it has no borders at which the answer jumps.
    Do not use it when: finetuning; the evidence is of trainings from scratch.

    Known: the share of optima of left-out sources that lie in the interval; tests/law holds it between 75 and 90 %.
    Assumed: the form of the features, and that sources differ as Gaussians do.

    Source: `adamw_scale.law`, fitted by `python -m adamw_scale.law.fitting` to `evidence/`.
    """

    name = "law"
    title = "law fitted to all evidence"
    formula = "log2 tau_run = " + " ".join(
        f"{mean:+.2f}{'' if name == 'level' else f' · {name}'}" for name, mean in zip(NAMES, fitted.MEAN, strict=True)
    )
    source = f"this project's fit to {fitted.OPTIMA} optima of {fitted.SOURCES} sources, see adamw_scale/law"
    certainty = (
        f"80 % interval; of optima whose source was left out of the fit {100 * fitted.INSIDE:.0f} % lie in theirs"
    )
    fitted_on = "language models, images, speech and tables, half a pass to 1,800 epochs"

    unique_tokens_per_param_fitted = Bounds(0.1, 1280)
    epochs_fitted = Bounds(0.5, 1800)
    sizes_fitted = Bounds(4e3, 3.9e9)  # up to the last, the Power Lines law was carried to in arXiv:2509.25087

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The middle of what is believed.

        Raises:
            MissingInputError: a language model without num_params.
        """
        if run.num_params is None and run.unit == "tokens":
            raise MissingInputError(
                "the best timescale of a language model depends on its size: pass --params (num_params)"
            )
        return run.timescale(run=2.0 ** Posterior().predict(run).log2_tau)

    def derivation(self, run: TrainingRun) -> str:
        """Every term with its number."""
        terms = (
            f"{mean:+.3g}" if name == "level" else f"{mean:+.2f} · {value:.3g} ({name})"
            for name, mean, value in zip(NAMES, fitted.MEAN, features_of(run).values, strict=True)
            if abs(value) > 1e-3
        )
        return f"log2 tau = {' '.join(terms)}, tau = {2 ** Posterior().predict(run).log2_tau:.3g} of the run"

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Weights that were trained before, or data and passes beyond all evidence."""
        reasons = [] if run.task == "pretraining" else [f"{run.task} starts from trained weights"]
        reasons += self.epochs_fitted.describe_outside(run.epochs, "number of epochs")
        if run.unit == "tokens" and run.unique_tokens_per_param is not None:
            reasons += self.sizes_fitted.describe_outside(run.num_params or 1e9, "number of parameters")
            reasons += self.unique_tokens_per_param_fitted.describe_outside(
                run.unique_tokens_per_param, "unique tokens per parameter"
            )
        return reasons
