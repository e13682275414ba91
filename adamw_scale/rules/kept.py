"""Finetuning: keep the decay there is."""

from dataclasses import dataclass

from adamw_scale.errors import SpecError
from adamw_scale.rules.rule import Rule
from adamw_scale.spec.run import Timescale, TrainingRun

PYTORCH_DEFAULT = 0.01
STANCE = "keep what you have; 0 to 0.1 makes no difference you could measure"


@dataclass(frozen=True)
class Kept(Rule):
    """The decay in use; where none was said, 0.01, which `torch.optim.AdamW` has if nobody sets it.

    Use it when: weights were trained before. Do not use it when: they were not.

    Known: finetuning configs decay by 0 to 0.1, mostly 0 or 0.01, untuned; at usual finetuning rates more than 99 % of
    the pretrained weights survive any of these. Nothing published gives an optimum, so nothing is computed here.

    Source: practice of public finetuning configs; the default of `torch.optim.AdamW`.
    """

    name = "kept"
    title = "the decay there is"
    formula = "λ as it is, else PyTorch's default of 0.01"
    source = "practice of public finetuning configs"
    certainty = "nothing was ever fitted to finetuning"

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """The timescale that this decay happens to give."""
        return run.base_timescale_of(run.hidden_weight_decay or PYTORCH_DEFAULT)

    def derivation(self, run: TrainingRun) -> str:
        """Whose the value is."""
        return f"PyTorch's default, λ = {PYTORCH_DEFAULT:g}" if run.weight_decay is None else "the decay in use"

    def carried(self, reference: TrainingRun, timescale: Timescale, run: TrainingRun) -> Timescale:
        """Always SpecError: it keeps what there is."""
        raise SpecError(f"rule {self.name!r} has nothing to carry from a tuned run: leave --rule or --reference out")

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Anything but finetuning."""
        return [] if run.task in ("finetuning", "lora") else ["this is not finetuning"]
