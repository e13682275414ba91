"""fairseq: `p.add_(p, alpha=-weight_decay * lr)` with the scheduled lr (fairseq/optim/adam.py); everything decays.

Its adam is AdamW; eps is added before the bias correction. Only `--optimizer composite`, in YAML, has groups.
A schedule sees the count of updates, 0 at the first, but `fixed` warms up over (t + 1) / W; `cosine` starts its
warm-up at --min-lr unless told otherwise and restarts after its period; `tri_stage` falls exponentially and counts in
--warmup-steps. fairseq 0.12 is the last release.
"""

import math
import re
from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document, Unread
from adamw_scale.frameworks.config import Config, Mend
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.spelling import betas_of, final_lr, value, whole
from adamw_scale.frameworks.table import Table, Trap, key, note_other_end
from adamw_scale.theory.schedules import Schedule

SECTIONS = ("optimizer", "lr_scheduler", "optimization", "dataset", "task", "distributed_training")
SCALE, SHRINK = 0.01, 0.1  # defaults of tri_stage and cosine
POINTS = 64  # of a table, for the fall of tri_stage
BATCH = """\
GLOBAL_BATCH_SIZE={batch}
BATCH_SIZE=1  # as much as fits in memory; times the world size it must divide the global batch
WORLD_SIZE=${{WORLD_SIZE:-1}}
"""
BATCH_ROWS = {
    "batch_size": '"$BATCH_SIZE"',
    "update_freq": '"$((GLOBAL_BATCH_SIZE / (BATCH_SIZE * WORLD_SIZE)))"',
}


class Fairseq(Table):
    """Command-line arguments of fairseq-train, as a bash array."""

    name = "fairseq"
    title = "fairseq"
    language = "shell"
    convention = "fairseq"
    undecayed_by_default = "nothing: everything decays, gains and biases too"
    grouping = "none"
    how_to_group = "name groups by param_group and use optimizer composite, in YAML"
    schedules = ("constant", "linear", "polynomial", "cosine", "cosine-restarts", "inverse-sqrt", "exponential")
    reads = "a shell script with the arguments, or the YAML of fairseq-hydra-train"
    signs = frozenset(
        {
            *("adam_betas", "warmup_updates", "total_num_update", "max_update", "update_freq", "tokens_per_sample"),
            *("max_tokens", "lr_period_updates", "end_learning_rate", "optimization", "warmup_init_lr", "arch"),
        }
    )
    scripts = r"\bfairseq-(hydra-)?train\b"
    formats = frozenset({"shell arguments", "YAML"})
    proven = "fairseq 0.12.2"
    dashed = True

    keys = {
        "optimizer": key("optimizer", default="adam"),
        "peak_lr": key("lr", default=0.25),
        "weight_decay": key("weight_decay", default=0.0),
        "betas": key("adam_betas", default=(0.9, 0.999)),
        "eps": key("adam_eps", default=1e-8),
        "schedule": key("lr_scheduler", default="fixed"),
        "warmup_steps": key(
            "warmup_updates", default=lambda keys: 4000.0 if keys.text("lr_scheduler") == "inverse_sqrt" else 0.0
        ),
        "schedule_power": key("power"),
        "total_steps": key("max_update"),
        "epochs": key("max_epoch"),
        "per_device_batch_size": key("batch_size", "max_sentences"),
        "accumulation": key("update_freq", default=1.0),
        "devices": key("distributed_world_size", "nproc_per_node"),
        "sequence_length": key("tokens_per_sample"),
    }
    optimizers = {"adam": "fairseq"}
    words = {
        "constant": ("fixed",),
        "linear": ("polynomial_decay",),
        "polynomial": ("polynomial_decay",),
        "cosine-restarts": ("cosine",),
        "cosine": ("cosine",),
        "inverse-sqrt": ("inverse_sqrt",),
        "exponential": ("tri_stage",),
    }
    traps = (
        Trap("warning", "anneals", "force_anneal",
             "force_anneal shrinks the learning rate each epoch from then on; it is judged as constant",
             "choose a scheduler that falls, such as polynomial_decay",
             lambda keys: "force_anneal" in keys and keys.text("lr_scheduler") in (None, "fixed")),
        Trap("error", "refused-key", "warmup_updates",
             "tri_stage counts its warm-up in warmup_steps; warmup_updates is refused",
             "write --warmup-steps",
             lambda keys: "warmup_updates" in keys and keys.text("lr_scheduler") == "tri_stage",
             Mend(key="warmup_updates", name="warmup_steps")),
    )  # fmt: skip

    def has(self, schedule: Schedule) -> bool:
        """A cosine has to fall."""
        return super().has(schedule) and (self.words[schedule.name] != ("cosine",) or schedule.final < 1)

    def find(self, document: Document) -> Keys:
        """YAML's sections as the arguments they stand for, and the first of values that are given for each epoch."""
        flat = {name: each for name, each in document.content.items() if name not in SECTIONS}
        for section in SECTIONS:
            inside = document.content.get(section)
            inside = inside if isinstance(inside, dict) else {} if inside is None else {"_name": inside}
            flat |= {section if name == "_name" else str(name): each for name, each in inside.items()}
        several = {name: _listed(flat[name]) for name in ("lr", "update_freq") if name in flat}
        keys = keys_of(document._replace(content=flat | {name: each[0] for name, each in several.items()}))
        if len(several.get("lr", ())) > 1:
            message = "lr has a value for each epoch; it is judged by the first"
            keys.warning("lr-by-epoch", "lr", message, fix="write one lr and a scheduler")
        return keys

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With the batch of the snippet's own name."""
        batch = re.search(r"^GLOBAL_BATCH_SIZE=(\d{1,12})\b", document.text, re.MULTILINE)
        return {**super().fields(keys, document), "batch_size": float(batch[1]) if batch else None}

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """A batch may be said in tokens; no epochs are as many as the updates take."""
        found = super().number(keys, field, filling)
        if field == "epochs":
            return found or None
        if field == "per_device_batch_size" and found is None:
            tokens, length = keys.number("max_tokens"), keys.number("tokens_per_sample")
            return tokens / length if tokens and length else None
        return found

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """What each scheduler takes, with lengths of their own."""
        fields = super().schedule(keys, peak_lr, steps)
        name, ends = fields.get("schedule"), {"polynomial": "end_learning_rate", "cosine": "min_lr"}
        if name in ends:
            low = keys.number_or("final_lr_fraction", 0.0, ends[name])
            fields["final_lr_fraction"] = keys.fraction("final_lr_fraction", low, peak_lr)
        if name == "polynomial":
            if fields.get("schedule_power") in (None, 1.0):
                fields |= {"schedule": "linear", "schedule_power": None}
            return fields | _other_end(keys, keys.number("total_num_update"), steps)
        if name == "cosine":
            return fields | _cosine(keys, peak_lr or 1.0, fields, steps)
        return fields | _tri_stage(keys, steps) if name == "exponential" else fields

    def write(self, config: Config) -> str:
        """Arguments for the command line; append "${ADAMW_ARGS[@]}" to the launch."""
        return (BATCH.format(batch=whole(config.batch_size)) if config.batch_size else "") + super().write(config)

    def rows(self, config: Config) -> dict[str, str]:
        """With the arguments of the scheduler."""
        rows = super().rows(config)
        last: dict[str, str] = {name: rows.pop(name) for name in ("max_update", "tokens_per_sample") if name in rows}
        if config.schedule == "exponential":
            del rows["warmup_updates"]
        return {**rows, **_scheduler(config), **last, **(BATCH_ROWS if config.batch_size else {})}

    def spelled(self, field: str, config: Config) -> str | None:
        """Betas as Python has them."""
        if field == "betas":
            return "'({}, {})'".format(*betas_of(config))
        own = ("schedule_power", "accumulation", "per_device_batch_size", "devices")
        return None if field in own else super().spelled(field, config)


def _listed(given: Any) -> list[Any]:
    """Values of one for each epoch."""
    if isinstance(given, str) and not isinstance(given, Unread):
        return [each.strip() for each in given.strip("[] ").split(",")]
    return given if isinstance(given, list) and given else [None if given == [] else given]


def _scheduler(config: Config) -> dict[str, str]:
    """Arguments of the scheduler, but for the warm-up that most count alike."""
    schedule, total, warmup = config.lr_schedule, whole(config.total_steps), whole(config.warmup_steps)
    if schedule.name in ("linear", "polynomial"):
        power = "1.0" if schedule.name == "linear" else value(config.power)
        return {"total_num_update": str(total), "end_learning_rate": value(final_lr(config)), "power": power}
    if schedule.name in ("cosine", "cosine-restarts"):
        growth = schedule.cycle_growth or 1.0
        period = (total - warmup) / math.fsum(growth**number for number in range(int(schedule.cycles or 1)))
        return {
            "warmup_init_lr": "0",
            "min_lr": value((config.peak_lr or 0) * schedule.floor),
            "lr_period_updates": f"{period:.12g}",
            **({"t_mult": value(growth), "lr_shrink": "1.0"} if schedule.name == "cosine-restarts" else {}),
        }
    if schedule.name == "exponential":
        return {
            "warmup_steps": f"{warmup} --hold-steps 0 --decay-steps {total - warmup}",
            "init_lr_scale": f"0 --final-lr-scale {value(schedule.floor)}",
        }
    return {"warmup_init_lr": "0"} if schedule.name == "inverse-sqrt" else {}


def _other_end(keys: Keys, length: float | None, total: float | None) -> dict[str, Any]:
    """The end of a schedule that does not end with the run."""
    if not length or not total or length == total:
        return {}
    note_other_end(keys, "schedule-length", "max_update", length, total, "set both to the same number")
    return {"schedule_end": length}


def _cosine(keys: Keys, peak: float, fields: dict[str, Any], total: float | None) -> dict[str, Any]:
    """Fields of a cosine, which restarts where its period ends before the run."""
    warmup, start = fields.get("warmup_steps", 0.0), keys.signed("warmup_init_lr")
    first = (fields.get("final_lr_fraction") or 0.0) * peak if start is None or start < 0 else start
    if warmup and first:
        message = f"the warm-up starts at {first:g}, at min_lr if nothing is said; it is judged as if from 0"
        keys.note("warmup-start", "warmup_init_lr", message, fix="write --warmup-init-lr 0 if that is meant")
    period, growth = keys.signed("lr_period_updates") or -1.0, min(keys.number("t_mult") or 1.0, 1e6)
    if period <= 0 or not total or period >= total - warmup - 0.5:
        return {}
    ratio = (total - warmup) / max(period, 1.0)
    cycles = ratio if growth == 1 else math.log1p(ratio * (growth - 1)) / math.log(growth) if growth > 1 else 1.0
    shrink = keys.number("lr_shrink")
    if shrink != 1 or abs(cycles - round(cycles)) > 0.01:
        message = (
            f"the cosine restarts after {period:g} updates, at {SHRINK if shrink is None else shrink:g} times the lr "
            f"before (lr_shrink), {cycles:.3g} cycles in all; it is judged as whole cycles of one height"
        )
        keys.warning("restarts", "lr_period_updates", message, fix="drop lr_period_updates for one cosine over the run")
    return {"schedule": "cosine-restarts", "cycles": max(1, round(cycles)), "cycle_growth": growth}


def _tri_stage(keys: Keys, total: float | None) -> dict[str, Any]:
    """Fields of tri_stage; with a stage that holds they are a table."""
    ratios = keys.raw("phase_ratio")
    stages = [keys.number(f"{stage}_steps") or 0.0 for stage in ("warmup", "hold", "decay")]
    if ratios is not None:
        parts = ratios if isinstance(ratios, list) else str(ratios).strip("()[] ").split(",")
        if len(parts) != 3 or not total:
            raise SpecError("phase_ratio needs three numbers, and max_update: write --phase-ratio '(0.1, 0.4, 0.5)'")
        stages = [float(int((Keys({"part": each}).number("part") or 0.0) * total)) for each in parts]
    given = [keys.number(f"{end}_lr_scale") for end in ("init", "final")]
    start, final = (SCALE if each is None else each for each in given)
    (warmup, hold, fall), length = stages, sum(stages)
    if not 0 < final < 1 or not fall:
        raise SpecError("tri_stage needs decay_steps, and final_lr_scale between 0 and 1")
    end = _other_end(keys, length, total)
    if not hold and not start:
        return {"warmup_steps": warmup, "final_lr_fraction": final, **end}
    table = [(0.0, start), (warmup / length, 1.0)] if warmup else [(0.0, 1.0)]
    table += [((warmup + hold + fall * n / POINTS) / length, final ** (n / POINTS)) for n in range(POINTS + 1)]
    return {"schedule": "table", "schedule_table": (*table, (1.0, final)), "warmup_steps": None, **end}
