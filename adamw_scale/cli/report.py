"""adamw-scale report: a calibration as one HTML page."""

from typing import Annotated

import typer

from adamw_scale.cli.text import say
from adamw_scale.noun import to_json
from adamw_scale.units import printable


def command(
    folder: Annotated[str, typer.Argument(help="The --out of a calibration.", metavar="DIR")],
    json: Annotated[bool, typer.Option("--json", help="Where it is, as one JSON document on stdout.")] = False,
) -> None:
    """Write DIR/report.html anew: basins, fit, loss curves, every probe, and λ for other runs.

    adamw-scale report my-calibration

    calibrate writes it at its end; this is for folders of older versions, and for those that were fitted elsewhere.
    The page is one file that needs no network: send it, print it, keep it.
    """
    from adamw_scale.report import write_report

    file = write_report(folder, say)
    print(to_json({"schema": "adamw-scale/report/1", "report": str(file)}) if json else printable(str(file)))
