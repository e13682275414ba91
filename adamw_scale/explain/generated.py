"""Pages made of what the parts say of themselves, in attributes and docstrings; nothing is said twice."""

import inspect
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from adamw_scale.explain.page import Page
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.law import features, fitted
from adamw_scale.law.features import FEATURES
from adamw_scale.rules import COMPETITORS, RULES, on_the_evidence
from adamw_scale.theory import conventions
from adamw_scale.theory.conventions import CONVENTIONS, KINDS, L2, L2_REASON, Setting
from adamw_scale.theory.lr_laws import LAWS
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.theory.schedules import OPTIONS, SCHEDULES, Schedule, ScheduleKind
from adamw_scale.theory.weight_decay_schedules import SHAPES, TAKE_A_FINAL_FRACTION, Decay
from adamw_scale.units import format_count, format_significant

# What rules say in their docstrings, and how a page calls it.
LABELS = {
    "Use it when": "use when",
    "Do not use it when": "not when",
    "Known": "known",
    "Known practice": "practice",
    "Assumed": "assumed",
    "Unverified": "unverified",
    "Disputed": "disputed",
    "Source": "",
}
EXAMPLE = Setting(peak_lr=1e-3, total_steps=10_000, mean=0.5, mean_square=1 / 3, mean_with_own=0.5)  # linear to zero
WIDER, DEEPER = 4.0, 2.0  # for the multipliers that are shown
TAKEN = {"law": "for every training from scratch", "kept": "where weights were trained before"}
EXAMPLE_SIZE = (1e9, 2e10, 2.0**19)  # parameters, tokens, tokens a batch
BASE_VALUES = (
    "The base values are --lr and base_weight_decay. What the answer calls λ, its range and peak_lr are those of "
    "hidden matrices."
)
GROUPING = {
    "all": "its config can say lr and decay of each",
    "decay": "its config can say whether each decays",
    "none": "its config has one lr and one decay for all",
}
SOURCES_SHARE = (
    "A source is a laboratory, or a training of this project's own. Its optima share a level and slopes of their own, "
    "so that many of one do not outvote few of another."
)
LEAVING_OUT = (
    "A source is left out, the law is fitted to the others, and its optima are predicted. A laboratory's level is its "
    "own, so a bias is expected; the range has to hold it."
)
A_SCHEDULE = (
    "What fraction of the peak learning rate is used, and when. Weight decay acts with it, so the mean of the schedule "
    "decides how much decay a run adds up to at the same λ."
)
SYMBOLS = {
    "u": "progress of the fall",
    "f": "final fraction",
    "p": "progress of the run",
    "w": "part of the run that is warm-up",
}
ARXIV = re.compile(r"arXiv:\d{4}\.\d{4,5}")
# One of each shape that cannot do without an option.
NEEDED: dict[str, dict[str, Any]] = {
    "inverse-sqrt": {"warmup_fraction": 0.01},
    "exponential": {"final_lr_fraction": 0.01},
    "step": {"milestones": (0.8, 0.9)},
    "cosine-restarts": {"cycles": 4.0},
}


def rules() -> Iterator[Page]:
    """Rules, the law first; what is known, assumed and disputed is in their docstrings."""
    for name, rule in RULES.items():
        text, said = _docstring(rule)
        told = said.pop("Source", "")
        facts = {
            "fitted on": rule.fitted_on,
            "certainty": rule.certainty,
            "evidence": on_the_evidence(name),
            **{LABELS[label]: each for label, each in said.items()},
        }
        law = name == "law"
        beside = "; without, it stands beside the law's answer where it speaks" if name in COMPETITORS else ""
        yield Page(
            kind="rule",
            topic=name,
            title=rule.title,
            means=text,
            formula=rule.formula,
            facts=facts,
            source=rule.source if ARXIV.search(rule.source) or law else told or rule.source,
            do=f"recommend takes it {TAKEN[name]} unless another is asked for."
            if name in TAKEN
            else f"--rule {name} takes it{beside}.",
            see=("features", "evidence", "left-out", "range", "timescale") if law else ("rule", "domain", "timescale"),
        )


def law() -> Iterator[Page]:
    """What the law is made of."""
    deviations = [math.sqrt(row[i]) for i, row in enumerate(fitted.COVARIANCE)]
    rows = [
        (name, f"{mean:+.2f} ± {deviation:.2f}", meaning)
        for (name, meaning), mean, deviation in zip(FEATURES.items(), fitted.MEAN, deviations, strict=True)
    ]
    yield Page(
        kind="law",
        topic="features",
        title="the terms of the law, with their fitted numbers",
        means=(
            "log2 of the timescale as a share of the run is the sum of these features, each times its number.",
            *_module_text(features.__name__),
        ),
        formula="log2 tau_run = sum of number * feature; s = tanh(log2(T) / 2.5)",
        table=(("feature", "number", "what it is"), *rows),
        source=RULES["law"].source,
        do="recommend prints the terms of your run under why; python -m adamw_scale.law.fitting fits them again.",
        see=("law", "evidence", "left-out", "range"),
        also=("law", "feature"),
    )
    counted = Counter(source for source, _, _ in fitted.EVIDENCE)
    yield Page(
        kind="law",
        topic="evidence",
        title="what the law was fitted to",
        means=(
            f"{fitted.OPTIMA} optima of {fitted.SOURCES} sources, and published laws as points with an error.",
            SOURCES_SHARE,
            "Nothing in it is of diffusion, mixtures of experts, or a few passes over images or records.",
        ),
        table=(("points", "source"), *((str(count), source) for source, count in counted.items())),
        source="its own in each row of the tables of adamw_scale/evidence, measured by this project or published",
        do="recommend prints the nearest sources, and how many octaves away they are.",
        see=("law", "features", "left-out"),
        also=("law", "nearest"),
    )
    rows = [(f"{inside} of {optima}", f"{bias:+.1f}", source) for source, inside, optima, bias in fitted.LEFT_OUT]
    yield Page(
        kind="law",
        topic="left-out",
        title="how often the ranges are right",
        means=(LEAVING_OUT, f"Of all optima {100 * fitted.INSIDE:.0f} % lie in their range."),
        table=(("in range", "bias, octaves", "source left out of the fit"), *rows),
        source="this project's fit (adamw_scale/law/fitting.py; a test fits again and compares)",
        do="Where your kind of training is in none of the sources, believe the range and measure.",
        see=("law", "evidence", "range", "octave"),
        also=("law", "bias"),
    )


def convention_pages() -> Iterator[Page]:
    """Conventions: the kind of each, and what PyTorch's 0.1 is in it."""
    for name, part in CONVENTIONS.items():
        kind = KINDS.get(part.kind)
        alike = [other for other, each in CONVENTIONS.items() if each.kind == part.kind and other != name]
        facts = {"kind": f"{part.kind}, as {', '.join(alike[:4])}{' and others' if len(alike) > 4 else ''}"}
        if not alike:
            facts = {"kind": part.kind}
        if part.default:
            facts["default"] = part.default
        if kind:
            facts["λ = 0.1 is"] = f"{_worth(name)} at peak lr 0.001, in 10,000 steps that fall straight to zero"
        yield Page(
            kind="convention",
            topic=name,
            title=part.library,
            means=(
                (f"{_sentence(kind.summary)} {_sentence(kind.caution)}".strip(),) if kind else (_sentence(L2_REASON),)
            ),
            formula=_shrinks(part.formula) if kind else part.formula,
            facts=facts,
            source=_sources(part.library, kind.source if kind else "Loshchilov & Hutter 2019, arXiv:1711.05101"),
            do=f"adamw-scale convert VALUE --from {name} --to pytorch; --convention {name} in recommend."
            if kind
            else "Use AdamW and what recommend says; this value has no equivalent.",
            see=("convention", "lambda", *(("l2",) if part.kind == L2 else ())),
        )


def _shrinks(formula: str) -> str:
    """What a step makes of a weight."""
    return f"w <- w * (1 - {formula}){', lr_t: the learning rate of the step' if 'lr_t' in formula else ''}"


def _worth(name: str) -> str:
    at_peak, in_sum = (
        format_significant(conventions.from_pytorch(name, 0.1, EXAMPLE, match), 3) for match in conventions.MATCHES
    )
    return at_peak if at_peak == in_sum else f"{at_peak} at the peak, {in_sum} in sum,"


def parametrizations() -> Iterator[Page]:
    """Parametrizations, with their multipliers at one other size."""
    for name, part in PARAMETRIZATIONS.items():
        groups = part.multipliers(WIDER, DEEPER)
        rows = [
            (group, *(f"{each:.3g}" for each in (m.peak_lr, m.weight_decay, m.eps, m.init_variance, m.forward)))
            for group, m in groups.items()
        ]
        drift = part.timescale_drift(WIDER, DEEPER)
        facts = {"timescale": f"of hidden matrices, {drift:.3g} times the base's at {WIDER:g} times the width"}
        if "depth" in part.needs:
            facts["branches"] = f"residual branches times {part.residual(DEEPER):g} at {DEEPER:g} times the depth"
        flags = [f"--{need} and --base-{need}" for need in part.needs]
        yield Page(
            kind="parametrization",
            topic=name,
            title=part.summary,
            means=(
                *((BASE_VALUES,) if part.needs else ()),
                f"What each group gets at {WIDER:g} times the base width"
                + (f" and {DEEPER:g} times the base depth" if "depth" in part.needs else "")
                + ", as multiples of the base values:",
            ),
            formula=f"{part.summary} (m = width / base width, d = depth / base depth)",
            facts=facts,
            table=(("group", "lr", "λ", "eps", "init variance", "output"), *rows),
            source=part.source,
            do=f"--parametrization {name}" + (f" with {' and '.join(flags)}." if flags else ", the default."),
            see=("base-width", "hidden-matrices", "width-exponent"),
        )


def schedules() -> Iterator[Page]:
    """Learning-rate schedules."""
    for name, part in SCHEDULES.items():
        facts = {"options": part.flags}
        needed = " ".join(OPTIONS[option] for option in part.needs)
        if name != "table":
            options = NEEDED.get(name, {})
            said = ", ".join(f"{OPTIONS[key]} {_option(value)}" for key, value in options.items())
            shape = Schedule(name, **options)
            facts["mean"] = (
                f"{shape.mean():.3g} of the peak{f' with {said}' if said else ''}: at tau_run 0.2 "
                f"{math.exp(-shape.mean() / 0.2):.2g} of the initial weights is left"
            )
        yield Page(
            kind="schedule",
            topic=name,
            title=part.summary,
            means=(A_SCHEDULE,),
            formula=_shape(part),
            facts=facts,
            source=_sources(part.summary, "none: a common shape"),
            do="--schedule-file FILE." if name == "table" else f"--schedule {name}{' with ' * bool(needed)}{needed}.",
            see=("decay-mass", "retention", "peak-lr"),
        )


def _shape(part: ScheduleKind) -> str:
    """The formula of a schedule, with the symbols that are in it."""
    symbols = [f"{symbol}: {what}" for symbol, what in SYMBOLS.items() if re.search(rf"\b{symbol}\b", part.formula)]
    warmup = ["after a straight warm-up"] if "warmup_fraction" in part.takes else []
    return "; ".join([f"lr / peak lr = {part.formula}", *warmup, *symbols])


def _option(value: object) -> str:
    return ",".join(f"{each:g}" for each in value) if isinstance(value, tuple) else f"{value:g}"


def weight_decay_schedules() -> Iterator[Page]:
    """Schedules of weight decay itself."""
    plain = Schedule("linear").mean()
    for name, summary in SHAPES.items():
        mean = Decay(Schedule("linear"), name).mean()
        yield Page(
            kind="weight-decay-schedule",
            topic=name,
            title=summary,
            means=("λ itself moves over the run, on top of the learning rate; λ is its value where it is highest.",)
            if name != "constant"
            else ("λ stays as it is; a step decays by the learning rate of the step times λ.",),
            formula="decay of a step = peak lr * λ * s * w, s the lr multiplier, w that of λ",
            facts={"mean": f"{mean:.3g} of s * w under linear decay to zero, where s alone has {plain:g}"},
            source=_sources(summary, "code of Megatron-LM and nanochat" if "as " in summary else "practice"),
            do=f"--weight-decay-schedule {name}"
            + (" with --final-weight-decay-fraction." if name in TAKE_A_FINAL_FRACTION else "."),
            see=("decay-mass", "weight-decay-schedule", "convention"),
        )


def lr_laws() -> Iterator[Page]:
    """Published laws of the learning rate."""
    params, tokens, batch = EXAMPLE_SIZE
    for name, part in LAWS.items():
        facts = {
            "N counts": f"{part.num_params_kind} parameters",
            "fitted on": part.fitted_on,
            "certainty": part.certainty,
            "example": f"{format_count(params)} parameters, {format_count(tokens)} tokens: lr "
            f"{part.peak_lr(params, tokens, batch):.3g}"
            + (f", batch {format_count(part.batch_size(params, tokens))} tokens" if part.batch_size else ""),
        }
        yield Page(
            kind="lr-law",
            topic=name,
            title="a published law for the peak learning rate" + (" and the batch" if part.batch_size else ""),
            means=(_sentence(part.remark),),
            formula=part.formula,
            facts=facts,
            source=part.source,
            do="recommend without --lr shows what each law suggests, with the λ that goes with it.",
            see=("peak-lr", "lr-matters"),
        )


def frameworks() -> Iterator[Page]:
    """Frameworks: how each applies decay, what it spares, what is written and read."""
    for name, part in FRAMEWORKS.items():
        text = _module_text(part.__module__)
        facts = {
            "spares": part.undecayed_by_default,
            "groups": GROUPING[part.grouping],
            "schedules": " ".join(part.schedules),
            "emits": part.language,
            "reads": part.reads or "nothing: it is configured in code",
            "proven": part.proven,
        }
        yield Page(
            kind="framework",
            topic=name,
            title=f"{part.title}, weight decay as in {part.convention}",
            means=text,
            formula=_shrinks(CONVENTIONS[part.convention].formula),
            facts=facts,
            source="code of the framework, read; proven by a whole run of the real optimizer, to 1e-6"
            if "source only" not in part.proven
            else "code of the framework, read",
            do=f"adamw-scale emit {name} with the run's options" + ("; adamw-scale audit FILE." if part.reads else "."),
            see=tuple(
                dict.fromkeys(("convention", part.convention, "hidden-matrices", *(("audit",) if part.reads else ())))
            ),
        )


def _docstring(part: object) -> tuple[tuple[str, ...], dict[str, str]]:
    """The paragraphs of a docstring, and what stands in it after one of `LABELS`."""
    pattern = rf"(?:^|(?<=\s))({'|'.join(LABELS)}): "
    paragraphs: list[str] = []
    said: dict[str, str] = {}
    for paragraph in inspect.cleandoc(inspect.getdoc(part) or "").split("\n\n"):
        start, *rest = re.split(pattern, " ".join(paragraph.split()))
        if start:
            paragraphs.append(_plain(start.strip()))
        said |= {label: _plain(each.strip()) for label, each in zip(rest[::2], rest[1::2], strict=True)}
    return tuple(paragraphs), said


def _module_text(name: str) -> tuple[str, ...]:
    """The docstring of a module below its first line, or that line where there is no more."""
    first, *more = inspect.cleandoc(sys.modules[name].__doc__ or "").split("\n\n")
    return tuple(_plain(" ".join(paragraph.split())) for paragraph in more or [first])


def _plain(text: str) -> str:
    return text.replace("`", "")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def _sources(text: str, otherwise: str) -> str:
    """The papers that a text names, or what is to be said where it names none."""
    return ", ".join(dict.fromkeys(ARXIV.findall(text))) or otherwise
