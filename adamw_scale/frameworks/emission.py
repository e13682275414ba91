"""emit(): a recommendation as a framework's config, with what the numbers are worth in comments above."""

from adamw_scale.errors import SpecError, UnusableAnswerError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.framework import Framework, Snippet
from adamw_scale.frameworks.translation import translated
from adamw_scale.rules.kept import STANCE
from adamw_scale.spec.advice import Caution, Recommendation
from adamw_scale.theory import conventions
from adamw_scale.units import format_count, format_significant


def emit(framework: str, recommendation: Recommendation) -> Snippet:
    """A recommendation in a framework's own unit, schedule names and exclusions.

    Args:
        framework: A name from `FRAMEWORKS`.
        recommendation: What to write.

    Raises:
        UnknownNameError: no such framework.
        SpecError: the run is not trained with AdamW, or the framework is only read.
        UnusableAnswerError: the recommendation says that its number must not be used.

    Example:
        >>> from adamw_scale import TrainingRun, recommend
        >>> run = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
        >>> '"weight_decay": 0.4202' in emit("pytorch", recommend(run)).text
        True
    """
    part, optimizer = FRAMEWORKS[framework](), recommendation.run.optimizer
    if not part.emits:
        raise SpecError(f"{part.title} is read, and not written here: set the weight decay that recommend prints")
    if optimizer != "adamw":
        raise SpecError(f"--optimizer {optimizer}: snippets write AdamW; set the weight decay that recommend prints")
    if (doubt := recommendation.doubt) is not None:
        raise UnusableAnswerError(f"{doubt.code}: {doubt.message}; {doubt.fix}")
    config, cautions = translated(recommendation, part)
    lines = [*header(recommendation, part), *(_said(caution) for caution in cautions)]
    text = part.annotated(lines, part.write(config))
    return part.finished(Snippet(framework=part.name, language=part.language, text=text, cautions=cautions))


def header(recommendation: Recommendation, framework: Framework) -> list[str]:
    """What the numbers of a snippet are worth; every snippet starts with it."""
    low, high = (format_significant(end) for end in recommendation.weight_decay_range)
    tau = recommendation.timescale
    return [
        f"AdamW for {framework.title}: weight decay {format_significant(recommendation.weight_decay)}, "
        f"range {low} to "
        f"{high}"
        + (f": {STANCE}" if recommendation.rule == "kept" else "")
        + (", in PyTorch's unit." if conventions.CONVENTIONS[framework.convention].kind != "pytorch" else "."),
        f"Rule {recommendation.rule} ({recommendation.companions.source}).",
        "Nothing decays."
        if tau is None
        else f"Timescale {format_count(round(tau.iters))} steps = {tau.epochs:.3g} epochs = {tau.run:.3g} of the run.",
        *_group_lines(recommendation),
        f"Convention {framework.convention}: w <- w * (1 - {conventions.CONVENTIONS[framework.convention].formula}).",
        *(_said(caution) for caution in recommendation.cautions),
    ]


def _said(caution: Caution) -> str:
    return f"Caution ({caution.code}): {caution.message}."


def _group_lines(recommendation: Recommendation) -> list[str]:
    """Per-group values, where one number does not serve all."""
    if recommendation.one_for_all:
        return []
    each = [
        f"{group.group} {format_significant(group.weight_decay)} at lr {group.peak_lr:.4g}"
        for group in recommendation.param_groups
    ]
    return [f"Weight decay by group: {', '.join(each)}."]
