"""What a config does to its weights: the timescale of each group, what would be recommended, and the findings."""

from typing import Literal

from pydantic import Field

from adamw_scale.advisor import recommend
from adamw_scale.auditing.checks import CHECKS, LORA, SEVERITIES
from adamw_scale.auditing.facts import Facts, GroupTimescale, PartialTimescale, group_timescale
from adamw_scale.auditing.provenance import Value
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.frameworks.config import Config, Finding
from adamw_scale.noun import Noun
from adamw_scale.spec.advice import Recommendation
from adamw_scale.spec.run import TrainingRun


class Audit(Noun):
    """What a config does, and the findings; `asks` are the options that would tell more."""

    schema_: Literal["adamw-scale/audit/1"] = Field("adamw-scale/audit/1", alias="schema")
    framework: str
    convention: str
    run: TrainingRun | None = None
    timescale: PartialTimescale | None = Field(None, description="of the hidden matrices")
    groups: tuple[GroupTimescale, ...] = Field(description="those whose tensors are trained")
    values: tuple[Value, ...] = Field((), description="every value of the config, and where it comes from")
    recommendation: Recommendation | None = None
    recommended: float | None = Field(None, description="its weight decay, in the config's own convention")
    findings: tuple[Finding, ...]
    asks: dict[str, str] = Field(default_factory=dict)
    unadvised: str | None = Field(None, description="why nothing is recommended for a run that is known")

    @property
    def failed(self) -> bool:
        """Whether an error was found."""
        return any(finding.severity == "error" for finding in self.findings)


def judged(
    framework: str,
    config: Config,
    run: TrainingRun | None = None,
    asks: dict[str, str] | None = None,
    values: tuple[Value, ...] = (),
) -> Audit:
    """A config with what it does to each group, what would be recommended, and the findings.

    Args:
        framework: Its name.
        config: What was read, and is known.
        run: The run that the config and its user describe, where they describe one.
        asks: What is missing of it, for the answer.
        values: Where its values come from.
    """
    advice, more, unadvised = advice_for(run)
    groups = tuple(group_timescale(config, run, group) for group in config.groups)
    facts = Facts(framework=framework, config=config, run=run, advice=advice, groups=groups)
    found = [*config.findings, *(finding for check in CHECKS for finding in check(facts))]
    return Audit(
        framework=framework,
        convention=config.convention,
        run=run,
        timescale=groups[0].timescale,
        groups=groups[:1] if facts.task == LORA else groups,  # adapters are matrices; all else is frozen
        values=values,
        recommendation=advice,
        recommended=None if advice is None or not advice.weight_decay else facts.written(advice.weight_decay),
        findings=tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))),
        asks={**(asks or {}), **more},
        unadvised=unadvised,
    )


def advice_for(run: TrainingRun | None) -> tuple[Recommendation | None, dict[str, str], str | None]:
    """What would be recommended; else what to add, or why there is none, as where a run leaves everything published."""
    if run is None or run.peak_lr is None:
        return None, {}, None
    try:
        advice = recommend(run)
    except MissingInputError:
        return None, {"--params": "what is recommended for a language model depends on its parameters"}, None
    except SpecError as error:
        return None, {}, str(error)
    return (None, {}, advice.doubt.message) if advice.doubt else (advice, {}, None)
