"""adamw-scale convert: one library's weight decay in another's unit."""

from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.run_flags import Given, run_of_any_data, run_options
from adamw_scale.cli.shared import JsonOption, remark
from adamw_scale.cli.text import columns, paragraphs_of, styled
from adamw_scale.errors import SpecError
from adamw_scale.units import format_significant, parse_quantity

if TYPE_CHECKING:
    from adamw_scale.spec.advice import Conversion
    from adamw_scale.theory.conventions import Setting

DATA = {"steps", "tokens", "samples", "dataset_size", "run", "schedule_file"}  # any of them says how long the run is


@run_options
def command(
    given: Given,
    value: Annotated[str, typer.Argument(help="the weight decay, as the first library takes it", metavar="VALUE")],
    source: Annotated[
        str, typer.Option("--from", help="Convention of VALUE; see adamw-scale list conventions.", metavar="A")
    ],
    target: Annotated[str, typer.Option("--to", help="Convention wanted.", metavar="B")],
    match: Annotated[
        str,
        typer.Option(
            "--match",
            help="What to keep where the two follow the schedule differently: the decay at peak lr, or its mass, the "
            "sum over the run.",
            metavar="peak|mass",
        ),
    ] = "peak",
    aligned: Annotated[
        float,
        typer.Option(
            "--aligned", help="cautious decay: share of weights whose update has their sign.", min=1e-6, max=1.0
        ),
    ] = 0.5,
    json: JsonOption = False,
) -> None:
    """One library's weight decay in another's unit.

    adamw-scale convert 0.1 --from pytorch --to composer --lr 3e-4

    adamw-scale convert 1e-4 --from tfa --to pytorch --lr 1e-3 --schedule cosine --match mass

    Most libraries multiply weight decay by the scheduled learning rate (pytorch); some by the schedule alone
    (composer), some by nothing (tfa), some by the square (timm-corrected). Give the --lr, --schedule or --steps
    that the two depend on; what is missing is asked for.
    """
    from adamw_scale.advisor.conversion import convert as core

    number = _value(value)
    conversion = core(number, source, target, _setting(given, aligned), match)
    print(conversion.to_json() if json else render(conversion))


def _value(text: str) -> float:
    try:
        number = parse_quantity(text)
    except SpecError as error:
        raise SpecError(f"VALUE: {error}") from None
    return number


def _setting(given: Given, aligned: float) -> "Setting":
    """What is known of the run; a schedule or steps that were not given are not known."""
    run = run_of_any_data(given if DATA & given.keys() else {**given, "steps": "10000"})
    known = run.setting._replace(aligned=aligned)
    if not {"schedule", "schedule_file", "run"} & given.keys():
        known = known._replace(mean=None, mean_square=None, mean_with_own=None)
    if not DATA & given.keys():
        known = known._replace(total_steps=None)
    return known


def render(conversion: "Conversion") -> str:
    """The value, the two formulas, what was kept."""
    head = styled(f"weight decay {format_significant(conversion.weight_decay, 6)}", bold=True)
    rows = {}
    if conversion.other_match is not None:
        kept, other = sorted(("decay at peak lr", "sum over the run"), reverse=conversion.match == "mass")
        rows["kept"] = f"the {kept}; with the same {other} it is {format_significant(conversion.other_match, 6)}"
    if conversion.pytorch is not None and "pytorch" not in (conversion.from_, conversion.to):
        rows["PyTorch"] = f"{format_significant(conversion.pytorch, 6)} there, at peak lr"
    parts = [
        f"{head}   in {conversion.to}, for {conversion.value:g} in {conversion.from_}",
        columns(("convention", "each step"), list(conversion.formulas.items())),
        *([paragraphs_of(rows)] if rows else []),
    ]
    return "\n\n".join([*parts, *(remark(caution) for caution in conversion.cautions)])
