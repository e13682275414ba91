"""What people look at: pictures as files, and a calibration as one HTML page.

    figures.py    nouns -> matplotlib figures; the only drawing code, used by --plot and by the page
    files.py      a figure as a .png, .svg or .pdf file, or as SVG that takes its colours from a page
    costs.py      what a weight decay costs on a run that was probed
    targets.py    what the calibration says of other runs, for the page's selector: asked of `recommend`, one by one
    page.py       a calibration's folder -> report.html, with page.html, page.css and page.js beside it

The page needs no network, and without JavaScript it still holds every number and picture.
"""

from adamw_scale.errors import MissingExtraError

try:
    from adamw_scale.report.figures import (
        answer_figure,
        basin_figure,
        ladder_figure,
        law_figure,
        memory_figure,
        scaling_figure,
    )
    from adamw_scale.report.files import save, suffix_of
    from adamw_scale.report.page import REPORT_FILE, write_report
except ModuleNotFoundError as error:
    if error.name not in ("matplotlib", "jinja2", "markupsafe"):
        raise
    raise MissingExtraError(error.name, "report", "drawing") from None

__all__ = [
    "REPORT_FILE",
    "answer_figure",
    "basin_figure",
    "ladder_figure",
    "law_figure",
    "memory_figure",
    "save",
    "scaling_figure",
    "suffix_of",
    "write_report",
]
