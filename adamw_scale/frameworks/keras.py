"""Keras 3: every optimizer takes `variable * weight_decay * lr` off with the scheduled lr (base_optimizer.py).

Everything decays unless `exclude_from_weight_decay` names it: `var_names` sees only the last part of a name ("kernel"),
so variables themselves are passed. One optimizer has one lr and one λ. Schedules are asked at the count of batches,
0 at the first: with gradient_accumulation_steps=k they pass k times as fast. Of the own ones only CosineDecay has
a warm-up, so all others are written as a class.
"""

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.phase import MOST_PHASES, Phase, phases
from adamw_scale.frameworks.scripts import read_script
from adamw_scale.frameworks.spelling import betas_of, eps_of, lr_of, spared, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import SCHEDULES, Schedule

_RULES = {
    NORM_AND_BIAS: 'len(v.shape) < 2 or v.name == "bias"',  # biases of attention have one dimension for the heads
    EMBEDDING: '"embedding" in v.path',
    OUTPUT: '"head" in v.path or "output" in v.path',
}


class Keras(Framework):
    """keras.optimizers.AdamW with a schedule."""

    name = "keras"
    title = "Keras 3"
    language = "python"
    convention = "keras"
    undecayed_by_default = "nothing: every variable decays"
    grouping = "decay"
    how_to_group = "give each group an optimizer of its own, in a train_step that applies them all"
    schedules = tuple(SCHEDULES)
    reads = "Python source with a call of keras.optimizers.AdamW or tfa.optimizers.AdamW"
    signs = frozenset({"exclude_from_weight_decay", "CosineDecay"})
    packages = frozenset({"keras", "tensorflow_addons"})
    by_optimizer = True
    formats = frozenset({"Python"})
    proven = "keras 3.15"

    def has(self, schedule: Schedule) -> bool:
        """Every shape, as long as it can be written out."""
        return super().has(schedule) and len(schedule.pieces) <= MOST_PHASES

    def write(self, config: Config) -> str:
        """A module with build_optimizer(model)."""
        beta1, beta2 = betas_of(config)
        definition, learning_rate = _learning_rate(config)
        rules = [rule for group, rule in _RULES.items() if group in spared(config)]
        excluded = f"[v for v in model.trainable_variables if {' or '.join(rules)}]"
        exclusion = f"    optimizer.exclude_from_weight_decay(var_list={excluded})\n" if rules else ""
        return f'''import keras
{definition}

def build_optimizer(model: keras.Model) -> keras.optimizers.AdamW:
    """Build the model first; count steps in batches if you accumulate gradients."""
    optimizer = keras.optimizers.AdamW(
        learning_rate={learning_rate},
        weight_decay={value(config.weight_decay)},
        beta_1={beta1},
        beta_2={beta2},
        epsilon={eps_of(config)},
    )
{exclusion}    return optimizer
'''

    def read(self, document: Document) -> Config:
        """Arguments of the one optimizer and of its schedule."""
        return read_script(document, "keras")


def _learning_rate(config: Config) -> tuple[str, str]:
    """Source of a schedule's class, if it needs one, and of the schedule."""
    peak, rows = lr_of(config), phases(config)
    fall = rows[-1]
    if config.schedule == "constant" and len(rows) == 1:
        return "", peak
    if config.schedule == "cosine" and fall.curve == "cosine":
        rest = f"decay_steps={fall.steps}, alpha={value(fall.last)}"
        warm = f"0.0, {rest}, warmup_target={peak}, warmup_steps={fall.start}"
        plain = f"{peak}, {rest}"
        return "", f"keras.optimizers.schedules.CosineDecay({warm if fall.start else plain})"
    return _class_source(config, rows), f"LearningRate({peak})"


def _class_source(config: Config, rows: tuple[Phase, ...]) -> str:
    """A LearningRateSchedule, which models can be saved with."""
    *others, last = rows
    earlier = "".join(
        f"        multiplier = ops.where(step < {phase.end}, {_phase_source(config, phase)}, multiplier)\n"
        for phase in reversed(others)
    )
    return f'''from keras import ops


@keras.saving.register_keras_serializable("adamw_scale")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate at each of {whole(config.total_steps)} steps, counted from 0."""

    def __init__(self, peak: float) -> None:
        self.peak = peak

    def __call__(self, step):
        step = ops.cast(step, "float32")
        multiplier = {_phase_source(config, last)}
{earlier}        return self.peak * multiplier

    def get_config(self) -> dict[str, float]:
        return {{"peak": self.peak}}
'''


def _phase_source(config: Config, phase: Phase) -> str:
    """One phase's multiplier; falls count what is left of them, which is exact near their end."""
    if phase.curve == "level":
        return f"ops.ones_like(step) * {value(phase.first)}" if phase.first != 1 else "ops.ones_like(step)"
    since = f"(step - {phase.start})" if phase.start else "step"
    past = f"ops.clip({since} / {phase.steps}, 0.0, 1.0)"
    left = f"ops.clip(({phase.end} - step) / {phase.steps}, 0.0, 1.0)"
    shape = {
        "line": left,
        "cosine": f"ops.sin(1.57079633 * {left}) ** 2",
        "polynomial": f"{left} ** {value(config.power)}",
        "1-sqrt": f"(1.0 - ops.sqrt({past}))",
        "exponential": f"{value(phase.last)} ** {past}",
        "inverse-sqrt": f"ops.rsqrt(ops.maximum(step, {phase.start}) / {phase.start})",
    }[phase.curve]
    if phase.curve in ("exponential", "inverse-sqrt"):
        return shape
    if (phase.first, phase.last) == (0.0, 1.0):
        return past
    drop = phase.first - phase.last
    scaled = shape if drop == 1 else f"{value(drop)} * {shape}"
    return f"{value(phase.last)} + {scaled}" if phase.last else scaled
