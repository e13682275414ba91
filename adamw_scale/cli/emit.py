"""adamw-scale emit: the advice as a framework's config."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.run_flags import Given, run_options
from adamw_scale.cli.shared import CalibrationOption, ReferenceOption, RuleOption, inputs_from, print_snippet
from adamw_scale.files import read_text
from adamw_scale.frameworks import FRAMEWORKS

if TYPE_CHECKING:
    from adamw_scale.spec.advice import Recommendation

MAX_RECOMMENDATION_BYTES = 1 << 20


@run_options
def command(
    given: Given,
    framework: Annotated[str, typer.Argument(help=f"one of {', '.join(FRAMEWORKS)}", metavar="FRAMEWORK")],
    rule: RuleOption = None,
    calibration: CalibrationOption = None,
    reference: ReferenceOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout that holds the snippet.")] = False,
) -> None:
    """A config snippet for a framework, in its own unit, schedule names and exclusions.

    adamw-scale emit huggingface --params 1.3B --tokens 26B --batch-size 524288 --sequence-length 2048 --lr 3e-4

    adamw-scale recommend --json ... | adamw-scale emit pytorch
    """
    _ = FRAMEWORKS[framework]  # an unknown name is refused before the input is read
    if given or (rule, calibration, reference) != (None, None, None):
        recommendation = inputs_from(given, calibration, reference).recommendation(rule)
    else:
        recommendation = _recommendation_from_stdin()
    print_snippet(framework, recommendation, json=json)


def _recommendation_from_stdin() -> "Recommendation":
    from adamw_scale.errors import SpecError
    from adamw_scale.spec.advice import Recommendation

    if sys.stdin is None or sys.stdin.isatty():
        raise SpecError("nothing to emit: pass the run's options, or pipe in `adamw-scale recommend --json ...`")
    text = read_text("-", MAX_RECOMMENDATION_BYTES)
    if not text.strip():
        raise SpecError("stdin is empty: pass the run's options, or pipe in `adamw-scale recommend --json ...`")
    try:
        return Recommendation.from_json(text)
    except SpecError as error:
        raise SpecError(
            f"stdin is not a recommendation ({error}): pipe in `adamw-scale recommend --json ...`"
        ) from None
