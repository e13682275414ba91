"""optax: adamw adds `weight_decay * p` before it scales by the learning rate (optax/_src/alias.py), so lr_t * λ.

Everything decays unless `mask` is false for it: gains and biases are told by their one dimension, which layers that
are stacked for a scan give two. A schedule is a function of the count of updates, 0 at the first, and the decay may
be one too. Other optimizers for other groups are put together by multi_transform.
"""

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.phase import MOST_PHASES, Phase, phases
from adamw_scale.frameworks.scripts import read_script
from adamw_scale.frameworks.spelling import betas_of, eps_of, lr_of, one_for_all, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import SCHEDULES, Schedule
from adamw_scale.theory.weight_decay_schedules import SHAPES as DECAY_SHAPES


class Optax(Framework):
    """A schedule and an adamw, one for each group where they differ."""

    name = "optax"
    title = "optax"
    language = "python"
    convention = "optax"
    undecayed_by_default = "nothing: everything decays where no mask is given"
    grouping = "all"
    schedules = tuple(SCHEDULES)
    weight_decay_schedules = tuple(DECAY_SHAPES)
    reads = "Python source with a call of optax.adamw or optax.lion"
    signs = frozenset({"warmup_cosine_decay_schedule", "cosine_decay_schedule", "join_schedules", "adamw"})
    packages = frozenset({"optax"})
    by_optimizer = True
    formats = frozenset({"Python"})
    proven = "optax 0.2.8"

    def has(self, schedule: Schedule) -> bool:
        """Every shape, as long as it can be written out."""
        return super().has(schedule) and len(schedule.pieces) <= MOST_PHASES

    def write(self, config: Config) -> str:
        """A module with build_optimizer(); run as a script, it shows how it labels a tiny model."""
        return (
            "import jax\nimport jax.numpy as jnp\nimport optax\n\n\n"
            f"{_schedule_source(config)}\n\n{_optimizer_source(config)}\n\n"
            'if __name__ == "__main__":\n'
            '    params = {"embedding": jnp.ones((256, 64)), '
            '"dense": {"kernel": jnp.ones((64, 64)), "bias": jnp.ones(64)}}\n'
            '    params["lm_head"] = {"kernel": jnp.ones((64, 256))}\n'
            "    build_optimizer().init(params)\n"
            f"    print(jax.tree.leaves_with_path({'decays' if one_for_all(config) else 'labels'}(params)))\n"
        )

    def read(self, document: Document) -> Config:
        """Arguments of the one optimizer and of its schedule."""
        return read_script(document, "optax")


def _schedule_source(config: Config) -> str:
    """Source of learning_rate(peak)."""
    rows = phases(config)
    body = [_phase_source(config, phase) for phase in rows]
    if len(body) == 1:
        text = f"    return {body[0]}\n"
    else:
        listed = "".join(f"        {each},\n" for each in body)
        ends = ", ".join(str(phase.end) for phase in rows[:-1])
        text = f"    phases = [\n{listed}    ]\n    return optax.join_schedules(phases, [{ends}])\n"
    return (
        "def learning_rate(peak: float) -> optax.Schedule:\n"
        f'    """Learning rate at each of {whole(config.total_steps)} updates, counted from 0."""\n{text}'
    )


def _phase_source(config: Config, phase: Phase) -> str:
    """One of optax's schedules; `count` starts at 0 in each."""
    first, last, steps = _times_peak(phase.first), _times_peak(phase.last), phase.steps
    ratio = value(phase.last / phase.first) if phase.first else ""
    since = f"jnp.clip(count / {steps}, 0, 1)"
    return {
        "level": f"optax.constant_schedule({first})",
        "line": f"optax.linear_schedule({first}, {last}, {steps})",
        "cosine": f"optax.cosine_decay_schedule({first}, {steps}, alpha={ratio})",
        "polynomial": f"optax.polynomial_schedule({first}, {last}, {value(config.power)}, {steps})",
        "exponential": f"optax.exponential_decay({first}, {steps}, {ratio})",
        "inverse-sqrt": f"lambda count: {first} * jax.lax.rsqrt(1 + jnp.maximum(count, 0) / {phase.start})",
        "1-sqrt": f"lambda count: {first} * (1 - {value(phase.first - phase.last)} * jnp.sqrt({since}))",
    }[phase.curve]


def _times_peak(multiplier: float) -> str:
    return {0.0: "0.0", 1.0: "peak"}.get(multiplier, f"{value(multiplier)} * peak")


def _decay_source(config: Config, weight_decay: float) -> str:
    """λ, or its own schedule in terms of `rate`, the learning rate's schedule at a peak of 1."""
    steps, end = whole(config.total_steps), config.final_weight_decay_fraction or 0.0
    λ = value(weight_decay)
    shapes = {
        "follows-lr": f"lambda count: {λ} * learning_rate(1.0)(count)",
        "linear": f"optax.linear_schedule({λ}, {value(weight_decay * end)}, {steps})",
        "cosine": f"optax.cosine_decay_schedule({λ}, {steps}, alpha={value(end)})",
    }
    return shapes.get(config.weight_decay_schedule, λ) if weight_decay else "0.0"


def _adamw_source(config: Config, group: Group, mask: str, indent: str) -> str:
    """A call of optax.adamw with one group's values."""
    beta1, beta2 = betas_of(config)
    rows = [
        f"learning_rate({lr_of(config, group)})",
        f"b1={beta1}",
        f"b2={beta2}",
        f"eps={eps_of(config, group)}",
        f"weight_decay={_decay_source(config, group.weight_decay)}",
        *([f"mask={mask}"] if mask else []),
    ]
    return f"optax.adamw(\n{''.join(f'{indent}    {row},{chr(10)}' for row in rows)}{indent})"


def _optimizer_source(config: Config) -> str:
    """build_optimizer(), and what it calls to tell the groups apart."""
    if one_for_all(config):
        spares = not config.group(NORM_AND_BIAS).weight_decay
        rule = "p.ndim > 1" if spares else "True"
        return f'''def decays(params: optax.Params) -> optax.Params:
    """{"Matrices and embeddings; not gains and biases, which have one dimension." if spares else "Everything."}"""
    return jax.tree.map(lambda p: {rule}, params)


def build_optimizer() -> optax.GradientTransformation:
    """Clip gradients before it, with optax.chain."""
    return {_adamw_source(config, config.group(HIDDEN), "decays", "    ")}
'''
    rows = "".join(
        f'        "{group.group}": {_adamw_source(config, group, "", "        ")},\n' for group in config.groups
    )
    return f'''EMBEDDINGS = ("embed",)  # parts of the names of your embeddings
OUTPUTS = ("lm_head", "output")  # and of your output layer


def labels(params: optax.Params) -> optax.Params:
    """The group of each parameter; initialise and scale the model for its width yourself."""

    def kind(path: tuple, p: jax.Array) -> str:
        name = jax.tree_util.keystr(path)
        if p.ndim < 2:
            return "{NORM_AND_BIAS}"
        if any(part in name for part in EMBEDDINGS):
            return "{EMBEDDING}"
        return "{OUTPUT}" if any(part in name for part in OUTPUTS) else "{HIDDEN}"

    return jax.tree.map_with_path(kind, params)


def build_optimizer() -> optax.GradientTransformation:
    """Learning rate and decay by group."""
    transforms = {{
{rows}    }}
    return optax.multi_transform(transforms, labels)
'''
