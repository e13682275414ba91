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
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, value, whole
from adamw_scale.theory.schedules import Schedule

_NAMES = {
    "constant": "fixed",
    "linear": "polynomial_decay",
    "polynomial": "polynomial_decay",
    "cosine": "cosine",
    "cosine-restarts": "cosine",
    "inverse-sqrt": "inverse_sqrt",
    "exponential": "tri_stage",
}
_READ = {
    "fixed": "constant",
    "polynomial_decay": "polynomial",
    "cosine": "cosine",
    "inverse_sqrt": "inverse-sqrt",
    "tri_stage": "exponential",
}
_SECTIONS = ("optimizer", "lr_scheduler", "optimization", "dataset", "task", "distributed_training")
INVERSE_SQRT_WARMUP, SCALE, SHRINK = 4000.0, 0.01, 0.1  # defaults of inverse_sqrt, tri_stage and cosine
POINTS = 64  # of a table, for the fall of tri_stage


class Fairseq(Framework):
    """Command-line arguments of fairseq-train, as a bash array."""

    name = "fairseq"
    title = "fairseq"
    language = "shell"
    convention = "fairseq"
    undecayed_by_default = "nothing: everything decays, gains and biases too"
    grouping = "none"
    how_to_group = "name groups by param_group and use optimizer composite, in YAML"
    schedules = tuple(_NAMES)
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

    def has(self, schedule: Schedule) -> bool:
        """A cosine has to fall."""
        return super().has(schedule) and (_NAMES[schedule.name] != "cosine" or schedule.final < 1)

    def write(self, config: Config) -> str:
        """Arguments for the command line; append "${ADAMW_ARGS[@]}" to the launch."""
        beta1, beta2 = betas_of(config)
        rows = [
            "--optimizer adam",
            f"--lr {lr_of(config)}",
            f"--weight-decay {value(config.weight_decay)}",
            f"--adam-betas '({beta1}, {beta2})'",
            f"--adam-eps {eps_of(config)}",
            f"--lr-scheduler {_NAMES[config.schedule or 'constant']}",
            *_schedule_rows(config),
            f"--max-update {whole(config.total_steps)}",
            *([f"--tokens-per-sample {whole(config.sequence_length)}"] if config.sequence_length else []),
            *(
                ['--batch-size "$BATCH_SIZE"', '--update-freq "$((GLOBAL_BATCH_SIZE / (BATCH_SIZE * WORLD_SIZE)))"']
                if config.batch_size
                else []
            ),
        ]
        batch = (
            f"GLOBAL_BATCH_SIZE={whole(config.batch_size)}\n"
            "BATCH_SIZE=1  # as much as fits in memory; times the world size it must divide the global batch\n"
            "WORLD_SIZE=${WORLD_SIZE:-1}\n"
        )
        array = "ADAMW_ARGS=(\n" + "".join(f"    {row}\n" for row in rows) + ")\n"
        return (batch if config.batch_size else "") + array

    def read(self, document: Document) -> Config:
        """The arguments, with fairseq's defaults where they say nothing."""
        keys = keys_of(document)
        if document.format != "shell arguments":
            keys = keys.within(_flat(document.content))
        optimizer = keys.text("optimizer")
        peak_lr = _peak(keys)
        length, tokens = keys.number("tokens_per_sample"), keys.number("max_tokens")
        per_device = keys.number("batch_size", "max_sentences")
        if per_device is None and tokens and length:
            per_device = tokens / length
        total = keys.number("max_update") or None
        batch = re.search(r"^GLOBAL_BATCH_SIZE=(\d{1,12})\b", document.text, re.MULTILINE)
        return Config(
            convention=chosen("optimizer", optimizer, {"adam": self.convention}, None) or self.convention,
            optimizer=optimizer or keys.text_or("optimizer", "adam", "optimizer"),
            peak_lr=peak_lr,
            groups=same_decay(keys.number_or("weight_decay", 0.0, "weight_decay")),
            betas=keys.pair_or("betas", (0.9, 0.999), "adam_betas"),
            eps=keys.number_or("eps", 1e-8, "adam_eps"),
            **_read_schedule(keys, peak_lr, total),
            total_steps=total,
            epochs=None if total else keys.number("max_epoch") or None,
            batch_size=float(batch[1]) if batch else None,
            per_device_batch_size=per_device,
            accumulation=_first(keys, "update_freq"),
            devices=keys.number("distributed_world_size", "nproc_per_node"),
            sequence_length=length,
            **keys.noted(),
        )


def _schedule_rows(config: Config) -> list[str]:
    """Arguments of the scheduler."""
    total, warmup = whole(config.total_steps), whole(config.warmup_steps)
    schedule, warm = config.lr_schedule, f"--warmup-updates {warmup}"
    if schedule.name in ("linear", "polynomial"):
        power = "1.0" if schedule.name == "linear" else value(config.power)
        return [
            warm,
            f"--total-num-update {total}",
            f"--end-learning-rate {value(final_lr(config))}",
            f"--power {power}",
        ]
    if _NAMES[schedule.name] == "cosine":
        growth = schedule.cycle_growth or 1.0
        period = (total - warmup) / math.fsum(growth**number for number in range(int(schedule.cycles or 1)))
        restarts = [f"--t-mult {value(growth)}", "--lr-shrink 1.0"] if schedule.name == "cosine-restarts" else []
        floor = f"--min-lr {value((config.peak_lr or 0) * schedule.floor)}"
        return [warm, "--warmup-init-lr 0", floor, f"--lr-period-updates {period:.12g}", *restarts]
    if schedule.name == "inverse-sqrt":
        return [warm, "--warmup-init-lr 0"]
    if schedule.name == "exponential":
        steps = f"--warmup-steps {warmup} --hold-steps 0 --decay-steps {total - warmup}"
        return [steps, f"--init-lr-scale 0 --final-lr-scale {value(schedule.floor)}"]
    return [warm]


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """YAML's sections as the arguments they stand for."""
    flat = {key: each for key, each in content.items() if key not in _SECTIONS}
    for section in _SECTIONS:
        inside = content.get(section)
        if isinstance(inside, dict):
            flat |= {section if key == "_name" else str(key): each for key, each in inside.items()}
        elif inside is not None:
            flat[section] = inside
    return flat


def _first(keys: Keys, key: str) -> float | None:
    """A number, or the first of a list with one for each epoch."""
    given = keys.raw(key)
    if isinstance(given, list):
        given = given[0] if given else None
    elif isinstance(given, str):
        given = given.strip("[] ").split(",")[0].strip()
    return Keys({key: given}).number(key)


def _peak(keys: Keys) -> float:
    """The learning rate; lists have one for each epoch, and the first is taken."""
    given = keys.raw("lr")
    if (isinstance(given, list) and len(given) > 1) or (isinstance(given, str) and "," in given):
        message = "lr has a value for each epoch; it is judged by the first"
        keys.warning("lr-by-epoch", "lr", message, fix="write one lr and a scheduler")
    found = _first(keys, "lr")
    if found is None:
        keys.filled("peak_lr", 0.25, "lr")
    elif found <= 0:
        raise SpecError(f"lr = {found:g}: a learning rate above 0 is needed")
    return 0.25 if found is None else found


def _read_schedule(keys: Keys, peak: float, total: float | None) -> dict[str, Any]:
    """Fields of a `Config` that say its schedule."""
    spelled = keys.text_or("schedule", "fixed", "lr_scheduler")
    name = chosen("lr_scheduler", spelled, _READ, None) or "constant"
    warmup = keys.number_or("warmup_steps", 0.0, "warmup_updates") or 0.0
    fields: dict[str, Any] = {"schedule": name, "warmup_steps": warmup}
    if name == "constant":
        if keys.number("force_anneal") is not None:
            message = "force_anneal shrinks the learning rate each epoch from then on; it is judged as constant"
            fix = "choose a scheduler that falls, such as polynomial_decay"
            keys.warning("anneals", "force_anneal", message, fix)
    elif name == "polynomial":
        power = keys.number("power")
        fields |= {"schedule": "linear"} if power in (None, 1.0) else {"schedule_power": power}
        low = keys.number_or("final_lr_fraction", 0.0, "end_learning_rate")
        fields["final_lr_fraction"] = low / peak if low is not None else None
        length = keys.number("total_num_update")
        if length and total and length != total:
            _note_other_length(keys, length, total)
            fields["schedule_end"] = length
    elif name == "cosine":
        fields |= _read_cosine(keys, peak, warmup, total)
    elif name == "inverse-sqrt":
        fields["warmup_steps"] = keys.number_or("warmup_steps", INVERSE_SQRT_WARMUP, "warmup_updates")
    else:
        fields |= _read_tri_stage(keys, total)
    return fields


def _read_cosine(keys: Keys, peak: float, warmup: float, total: float | None) -> dict[str, Any]:
    """Fields of a cosine, which restarts where its period ends before the run."""
    floor, start = keys.number_or("final_lr_fraction", 0.0, "min_lr") or 0.0, keys.signed("warmup_init_lr")
    if warmup and (floor if start is None or start < 0 else start):
        message = (
            f"the warm-up starts at {floor if start is None or start < 0 else start:g}, which is min_lr if "
            "warmup_init_lr is not given; it is judged as if from 0"
        )
        keys.note("warmup-start", "warmup_init_lr", message, fix="write --warmup-init-lr 0 if that is meant")
    fields: dict[str, Any] = {"final_lr_fraction": floor / peak}
    period, growth = keys.signed("lr_period_updates") or -1.0, keys.number("t_mult") or 1.0
    if period <= 0 or not total or period >= total - warmup - 0.5:
        return fields
    ratio, growth = (total - warmup) / max(period, 1.0), min(growth, 1e6)
    cycles = ratio if growth == 1 else math.log1p(ratio * (growth - 1)) / math.log(growth) if growth > 1 else 1.0
    shrink = keys.number("lr_shrink")
    if shrink != 1 or abs(cycles - round(cycles)) > 0.01:
        shrunk = SHRINK if shrink is None else shrink
        message = (
            f"the cosine restarts after {period:g} updates, at {shrunk:g} times the lr before (lr_shrink), "
            f"{cycles:.3g} cycles in all; it is judged as whole cycles of one height"
        )
        keys.warning("restarts", "lr_period_updates", message, fix="drop lr_period_updates for one cosine over the run")
    return {**fields, "schedule": "cosine-restarts", "cycles": max(1, round(cycles)), "cycle_growth": growth}


def _read_tri_stage(keys: Keys, total: float | None) -> dict[str, Any]:
    """Fields of tri_stage; with a stage that holds they are a table."""
    if "warmup_updates" in keys:
        message = "tri_stage counts its warm-up in warmup_steps; warmup_updates is refused"
        keys.error("refused-key", "warmup_updates", message, fix="write --warmup-steps")
    ratios = keys.raw("phase_ratio")
    if ratios is not None:
        parts = ratios if isinstance(ratios, list) else str(ratios).strip("()[] ").split(",")
        if len(parts) != 3 or not total:
            raise SpecError("phase_ratio needs three numbers, and max_update: write --phase-ratio '(0.1, 0.4, 0.5)'")
        warmup, hold, fall = (float(int((Keys({"part": each}).number("part") or 0.0) * total)) for each in parts)
    else:
        warmup, hold, fall = (keys.number(f"{stage}_steps") or 0.0 for stage in ("warmup", "hold", "decay"))
    final, start = (keys.number(f"{end}_lr_scale") for end in ("final", "init"))
    final, start = SCALE if final is None else final, SCALE if start is None else start
    length = warmup + hold + fall
    if not 0 < final < 1 or not length or not fall:
        raise SpecError("tri_stage needs decay_steps, and final_lr_scale between 0 and 1")
    end = {}
    if total and length != total:
        _note_other_length(keys, length, total)
        end = {"schedule_end": length}
    if not hold and not start:
        return {"warmup_steps": warmup, "final_lr_fraction": final, **end}
    table = [(0.0, start), (warmup / length, 1.0)] if warmup else [(0.0, 1.0)]
    table += [((warmup + hold + fall * n / POINTS) / length, final ** (n / POINTS)) for n in range(POINTS + 1)]
    return {"schedule": "table", "schedule_table": (*table, (1.0, final)), "warmup_steps": None, **end}


def _note_other_length(keys: Keys, length: float, total: float) -> None:
    """A schedule that is shorter or longer than the run."""
    message = f"the schedule takes {length:g} updates and the run {total:g}: its last learning rate stays"
    if length > total:
        message = f"the schedule takes {length:g} updates and the run ends after {total:g}, before it has come down"
    keys.warning("schedule-length", "max_update", message, fix="set both to the same number")
