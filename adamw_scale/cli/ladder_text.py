"""A ladder as a table with its sources and cautions below it, and as CSV."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

from adamw_scale.cli.shared import describe_schedule, describe_warmup, remark
from adamw_scale.cli.text import columns, paragraphs_of, styled
from adamw_scale.spec.advice import LawAdvice
from adamw_scale.spec.ladder import Ladder, Rung
from adamw_scale.theory.parametrizations import GROUPS
from adamw_scale.units import format_count, format_significant

Column = tuple[str, str, list[str]]  # whose, what, and a cell for each rung


def render(ladder: Ladder, following: str) -> str:
    """The ladder for a person; `following` is the command to go on with."""
    rows = {
        "runs": _by_rung(ladder, _describe_run),
        "rule": _by_rung(ladder, _describe_rule),
        "groups": _describe_groups(ladder),
        "lr": _describe_lrs(ladder),
        "batch": _by_rung(ladder, _describe_batch),
        "NOT USABLE": _by_rung(
            ladder, lambda rung: f"see {doubt.code}" if (doubt := rung.recommendation.doubt) else ""
        ),
        "written": ", ".join(rung.file for rung in ladder.rungs if rung.file),
    }
    cautions = [
        remark(caution.model_copy(update={"code": f"{caution.code} ({_names(ladder, caution.rungs)})"}))
        for caution in ladder.cautions
    ]
    shown = paragraphs_of({label: text for label, text in rows.items() if text})
    return "\n\n".join([_table(ladder), shown, *cautions, styled("  next       ", dim=True) + following])


def to_csv(ladder: Ladder) -> str:
    """One rung a row, in full precision; weight decays are PyTorch's, cautions are codes with blanks between."""
    rows = [_cells(rung) for rung in ladder.rungs]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cells(rung: Rung) -> dict[str, Any]:
    advice = rung.recommendation
    run, (low, high) = advice.run, advice.weight_decay_range
    of_groups: dict[str, float] = {}
    for group in advice.param_groups:
        name = group.group.replace("-", "_")
        of_groups |= {f"lr_{name}": group.peak_lr, f"weight_decay_{name}": group.weight_decay}
    return {
        "rung": rung.name,
        "num_params": run.num_params,
        "unit": run.unit,
        "dataset_size": run.dataset_size,
        "epochs": run.epochs,
        "steps": run.total_steps,
        "batch_size": run.batch_size,
        "lr": advice.base_peak_lr,
        "weight_decay_low": low,
        "weight_decay_high": high,
        **of_groups,
        "tau_run": advice.timescale and advice.timescale.run,
        "rule": advice.rule,
        "lr_law": rung.lr_law and rung.lr_law.law,
        "batch_law": rung.batch_law and rung.batch_law.law,
        "cautions": " ".join(caution.code for caution in advice.cautions),
        "file": rung.file,
    }


def _table(ladder: Ladder) -> str:
    """A row for each rung; a second heading says whose values they are where groups differ."""
    whose, what, cells = zip(*_of_the_runs(ladder), *_of_the_groups(ladder), strict=True)
    rows = zip(*cells, strict=True)
    return columns(whose, [what, *rows]) if any(whose) else columns(what, rows)


def _of_the_runs(ladder: Ladder) -> Iterator[Column]:
    names, runs = [rung.name for rung in ladder.rungs], [rung.recommendation.run for rung in ladder.rungs]
    params = [_count(run.num_params) for run in runs]
    if params != names:
        yield "", "rung", names
    if any(run.num_params for run in runs):
        yield "", "params", params
    units = {run.unit for run in runs}
    yield "", units.pop() if len(units) == 1 else "data", [_count(run.dataset_size) for run in runs]
    if any(run.epochs != 1 for run in runs):
        yield "", "epochs", [_count(run.epochs) for run in runs]
    yield "", "steps", [_count(round(run.total_steps)) for run in runs]
    yield "", "batch", [_count(run.batch_size) for run in runs]
    yield "", "--lr", [f"{run.lr:.4g}" for run in runs]


def _of_the_groups(ladder: Ladder) -> Iterator[Column]:
    """λ of each of the groups that differ, and their learning rate where it is not the run's."""
    alike = ladder.alike_groups
    for number, names in enumerate(alike):
        groups = [rung.group(names[0]) for rung in ladder.rungs]
        whose = _title(number, alike) if len(alike) > 1 else ""
        yield whose, "λ", [format_significant(group.weight_decay) for group in groups]
        if number == 0:
            yield (
                "",
                "range",
                ["–".join(map(format_significant, rung.recommendation.weight_decay_range)) for rung in ladder.rungs],
            )
        if any(
            group.peak_lr != rung.recommendation.base_peak_lr for group, rung in zip(groups, ladder.rungs, strict=True)
        ):
            yield "", "lr", [f"{group.peak_lr:.4g}" for group in groups]


def _title(number: int, alike: tuple[tuple[str, ...], ...]) -> str:
    return alike[number][0] if number == 0 or len(alike) > 2 else "others"


def _count(value: float | None) -> str:
    """A count that can be passed on as it stands: in options a comma is between rungs."""
    return "-" if value is None else format_count(value).replace(",", "")


def _by_rung(ladder: Ladder, describe: Callable[[Rung], str]) -> str:
    """What is to say of each rung, once where it is the same; nothing of those of which there is nothing to say."""
    said: dict[str, list[str]] = {}
    for rung in ladder.rungs:
        said.setdefault(describe(rung), []).append(rung.name)
    if len(said) == 1:
        return next(iter(said))
    return "; ".join(f"at {', '.join(names)}: {text}" for text, names in said.items() if text)


def _names(ladder: Ladder, names: tuple[str, ...]) -> str:
    return "all" if len(names) == len(ladder.rungs) else ", ".join(names)


def _describe_run(rung: Rung) -> str:
    run = rung.recommendation.run
    betas = f"betas {run.betas[0]:g} and {run.betas[1]:g}"
    return ", ".join([run.task, describe_schedule(run), describe_warmup(run), betas])


def _describe_rule(rung: Rung) -> str:
    about = rung.recommendation.companions
    domain = "inside" if about.in_domain else "OUTSIDE"
    return f"{rung.recommendation.rule}: {about.certainty}; {domain} its domain; {about.source}"


def _describe_groups(ladder: Ladder) -> str:
    """Which groups the columns are of, and which do not decay."""
    alike = ladder.alike_groups
    spared = ", ".join(name for name in GROUPS if all(name not in names for names in alike))
    each = [", ".join(names) for names in alike]
    if len(each) > 1:
        each = [f"{_title(number, alike)}: {names}" for number, names in enumerate(each)]
    return f"{'; '.join(each)}{f'; no decay: {spared}' if spared else ''}"


def _describe_law(law: LawAdvice | None) -> str:
    if law is None:
        return ""
    return f"{law.law}, {'inside' if law.in_domain else 'OUTSIDE'} its domain ({law.source})"


def _describe_batch(rung: Rung) -> str:
    if rung.batch_law is not None and rung.batch_law == rung.lr_law:
        return f"{rung.batch_law.law}, as the lr"
    return _describe_law(rung.batch_law)


def _describe_lrs(ladder: Ladder) -> str:
    """The laws that gave them, what that means under muP, and the batches that they are for."""
    rungs = [rung for rung in ladder.rungs if rung.lr_law is not None]
    if not rungs:
        return ""
    text = _by_rung(ladder, lambda rung: _describe_law(rung.lr_law))
    if any(rung.hidden.peak_lr != rung.recommendation.peak_lr for rung in rungs):
        text += "; a law's rate is that of hidden matrices, and lr the base rate that gives it to them"
    unlike = {
        rung.name: rung.lr_law.batch_size
        for rung in rungs
        if rung.batch_law is None and rung.lr_law and rung.lr_law.batch_size
    }
    if unlike:
        batches = ", ".join(f"{_count(float(f'{batch:.3g}'))} at {name}" for name, batch in unlike.items())
        text += f"; the batch that such a rate belongs to is {batches}"
    return text
