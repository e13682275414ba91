"""Finetuning: bound how much of the pretrained weights decay may remove."""

from dataclasses import dataclass

from adamw_scale.errors import SpecError
from adamw_scale.rules.rule import Rule
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory.timescale import tau_iter, tau_run_for_retention


@dataclass(frozen=True)
class Retention(Rule):
    """The largest decay up to λ = 0.1 that keeps 99 % of the pretrained weights.

    Decay pulls toward zero, so in finetuning it erases the pretrained weights: after the run the
    share exp(-sum lr_t*λ) of them is left. At usual finetuning rates that share is above 99 %
    whatever λ is: decay is inert and not worth tuning.

    Use it when: finetuning all weights. Under `lora` the weights kept are
    the adapter's initial ones; decay there pulls the *adapter* to zero and so toward the base model.
    Do not use it when: the start point is not worth keeping.

    Known: the retention formula. Known practice: λ from 0 to 0.1, mostly 0 or 0.01, untuned.
    Assumed: that what was pretrained should stay. No published law gives an optimum.

    Source: retention from the EMA form, arXiv:2405.13698; practice from public finetuning configs.
    """

    name = "retention"
    title = "keep the pretrained weights"
    formula = "exp(-mean lr * λ * steps) >= 0.99, λ <= 0.1"
    source = "EMA form of arXiv:2405.13698; practice of public finetuning configs"
    certainty = "judgement: no published law"

    retention: float = 0.99
    max_weight_decay: float = 0.1

    def target_timescale(self, run: TrainingRun) -> Timescale:
        """That of the largest harmless decay."""
        keeping = run.timescale(run=tau_run_for_retention(run.decay_schedule.mean(), self.retention))
        if run.peak_lr is None:
            return keeping
        return run.timescale(iters=max(keeping.iters, tau_iter(run.peak_lr, self.max_weight_decay)))

    def derivation(self, run: TrainingRun) -> str:
        """What it is."""
        return f"largest λ up to {self.max_weight_decay:g} that keeps {self.retention:.0%} of the pretrained weights"

    def carried(self, reference: TrainingRun, timescale: Timescale, run: TrainingRun) -> Timescale:
        """Always SpecError: it asks for what keeps the weights, whatever was tuned."""
        raise SpecError(f"rule {self.name!r} has nothing to carry from a tuned run: leave --rule or --reference out")

    def outside_domain(self, run: TrainingRun) -> list[str]:
        """Anything but finetuning."""
        return [] if run.task in ("finetuning", "lora") else ["this is not finetuning"]
