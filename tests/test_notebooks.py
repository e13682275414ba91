"""Jupyter notebooks: their code is read as a script is, lines are those of cells, mends change nothing else."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

from adamw_scale.auditing import audit
from adamw_scale.auditing.mending import mended
from adamw_scale.errors import SpecError
from adamw_scale.formats import parse
from adamw_scale.formats.notebook import MOST_CODE, Notebook

PLOT = {
    "data": {"image/png": "iVBORw0KGgo=" * 9, "text/plain": ["lr=9\n", "weight_decay=9"]},
    "output_type": "display_data",
}
SETUP = "%matplotlib inline\n!pip install -q torch\nimport torch\nfrom torch.optim import AdamW\nif True:\n    !ls\n"
TRAIN = (
    "%%time\nnet = torch.nn.Linear(3, 3)\n"
    'opt = AdamW(net.parameters(), lr=3e-4, weight_decay=0.7)  # \u00e9 \U0001f600 "x"\n'
    'size = !wc -l data.txt \\\n    rest\nprint(f"%d" % 3)\nopt?'
)
STEPS = "total_steps = 10_000\nsched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=total_steps)\n"
LAUNCH = (
    "!accelerate launch train_dreambooth.py \\\n  --learning_rate=5e-6 --max_train_steps {steps} \\\n"
    "  --lr_scheduler constant"
)
SAID: dict[str, Any] = {"task": "finetuning", "batch_size": "8", "samples": "1000"}


def cell(source: str, kind: str = "code", *, as_list: bool = True) -> dict[str, Any]:
    """A cell as Jupyter writes it."""
    lines: str | list[str] = source.splitlines(keepends=True) if as_list else source
    code = {"execution_count": 3, "outputs": [PLOT]} if kind == "code" else {}
    return {"cell_type": kind, **code, "metadata": {}, "source": lines}


def notebook(*cells: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A notebook of format 4."""
    return {
        "cells": list(cells),
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    } | more


def script(*, as_list: bool = True) -> dict[str, Any]:
    """A notebook that trains, with magics, commands, a cell that is a file, and numbers in what is no code."""
    made = partial(cell, as_list=as_list)
    other = made("%%writefile other.py\nfrom torch.optim import AdamW\nAdamW(p, lr=9)")
    return notebook(cell("lr = 5\n", "markdown"), made(SETUP), made(TRAIN), other, made(STEPS))


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("spelling", [{"indent": 1}, {}, {"ensure_ascii": False, "separators": (",", ":")}])
def test_code_cells_are_read_as_one_script(*, as_list: bool, spelling: dict[str, Any]) -> None:
    """Values and where they are from are those of the same Python text; outputs and other cells say nothing."""
    found = audit(json.dumps(script(as_list=as_list), **spelling), suffix=".ipynb")
    plain = (
        "import torch\nfrom torch.optim import AdamW\n"
        + TRAIN.split("\n")[1]
        + "\n"
        + TRAIN.split("\n")[2]
        + "\n"
        + STEPS
    )
    assert found == audit(plain, suffix=".py")
    assert {each.field: each.origin for each in found.values}["peak_lr"] == "read"
    assert found.groups[0].written == 0.7


def test_stdin_is_a_notebook_by_what_it_says() -> None:
    """There is no suffix to tell."""
    assert audit(json.dumps(script())) == audit(json.dumps(script()), suffix=".ipynb")


def test_lines_are_those_of_cells() -> None:
    """Cells of every kind are counted."""
    one, other = "from torch.optim import AdamW\n\na = AdamW(p, lr=1e-3)", "\nb = AdamW(p, lr=2e-3)"
    with pytest.raises(SpecError, match=r"lr 0.001\) in line 3 of cell 1; .*lr 0.002\) in line 2 of cell 3:"):
        audit(json.dumps(notebook(cell(one), cell("x", "markdown"), cell(other))), suffix=".ipynb")
    with pytest.raises(SpecError, match=r"not valid Python .*line 2 of cell 2\)"):
        parse(json.dumps(notebook(cell(one), cell('\nprint "x"'))), ".ipynb")


def test_a_notebook_that_only_launches_is_shell_text() -> None:
    """`!` and %%bash; a name that IPython puts in is a variable; --command chooses."""
    launch = notebook(cell("!git clone x\n%cd x\n"), cell("lr = 1e-3\ndrive.mount('/x')"), cell(LAUNCH))
    document = parse(json.dumps(launch), ".ipynb")
    assert document.format == "shell arguments"
    assert document.content["learning_rate"] == "5e-6"
    assert document.content["max_train_steps"] == "$steps"
    editors = cell("swift sft \\\n  --learning_rate 1e-4") | {"metadata": {"vscode": {"languageId": "shellscript"}}}
    assert audit(json.dumps(notebook(cell("x = 1"), editors)), suffix=".ipynb").framework == "ms-swift"
    two = notebook(cell("%%bash\npython train.py --lr 1\n\npython train.py --lr 2"))
    with pytest.raises(SpecError, match=r"--command 2 for train\.py in line 4 of cell 1"):
        parse(json.dumps(two), ".ipynb")
    assert parse(json.dumps(two), ".ipynb", command=2).content["lr"] == "2"
    with pytest.raises(SpecError, match="--command chooses"):
        parse(json.dumps(script()), ".ipynb", command=1)


def test_what_python_knows_is_no_magic() -> None:
    """A line of text that begins with a mark, and one that goes on with an operator."""
    source = 'text = """\n!not a command\n%d\n"""\nlr = (7\n%4)\n'
    assert Notebook(json.dumps(notebook(cell(source)))).text == source


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("spelling", [{"indent": 1}, {"ensure_ascii": False}])
def test_a_mend_changes_the_value_in_its_cell_alone(*, as_list: bool, spelling: dict[str, Any]) -> None:
    """The recommended decay, byte for byte nothing else; the notebook is one still."""
    whole = json.dumps(script(as_list=as_list), **spelling)
    read = partial(audit, suffix=".ipynb", **SAID)
    done = mended(whole, read, to_recommendation=True)
    (new,) = {f"{read(whole).recommended:.3g}"}
    assert done.text == whole.replace("weight_decay=0.7", f"weight_decay={new}")
    assert len(done.changes) == 1
    assert mended(done.text, read, to_recommendation=True).changes == ()


def test_a_new_line_is_a_line_of_the_cell() -> None:
    """A weight decay that nobody wrote comes beside the learning rate."""
    source = (
        "from transformers import TrainingArguments\nargs = TrainingArguments(\n"
        '    output_dir="a",\n    learning_rate=1e-4,\n    num_train_epochs=3,\n)'
    )
    whole = json.dumps(notebook(cell("x", "markdown"), cell(source)), indent=1)
    read = partial(audit, suffix=".ipynb", **SAID, devices=1)
    done = mended(whole, read, to_recommendation=True)
    made = "".join(json.loads(done.text)["cells"][1]["source"])
    (added,) = set(made.split("\n")) - set(source.split("\n"))
    assert added.startswith("    weight_decay=0.0")
    assert made.replace(added + "\n", "") == source


def test_findings_point_to_lines_of_the_file(adamw_scale: Command, tmp_path: Path) -> None:
    """For GitHub and SARIF, which show the JSON; never to an output or to text that bears the same key."""
    file = tmp_path / "train.ipynb"
    file.write_text(json.dumps(script(), indent=1))
    outcome = adamw_scale("audit", str(file), "--format", "github")
    lines = file.read_text().splitlines()
    (line,) = {each.split("line=")[1].split(",")[0] for each in outcome.out.splitlines() if "decay-on-norms" in each}
    assert "opt = AdamW(" in lines[int(line) - 1]


@pytest.mark.parametrize(
    ("whole", "told"),
    [
        ('{"cells": [', "not valid Jupyter notebook"),
        ("lr = 1", "not valid Jupyter notebook"),
        ('{"nbformat": 4, "cells": 3}', "not valid Jupyter notebook"),
        ('{"nbformat": 4, "cells": [{"cell_type": "code", "source": [3]}]}', "not valid Jupyter notebook"),
        ('{"nbformat": 4, "cells": []} x', "not valid Jupyter notebook"),
        ('{"nbformat": 4, "cells": [{"source": ' + "[" * 99_999, "not valid Jupyter notebook"),
        ('{"cells": [], "nbformat": 4}', "no code cell"),
        (json.dumps(notebook(cell("lr = 1", "markdown"))), "no code cell"),
        (json.dumps(notebook(cell("\n"))), "no code cell"),
        ('{"worksheets": [], "nbformat": 3}', "older format"),
        (json.dumps(notebook(cell("x = 1"), metadata={"language_info": {"name": "R"}})), "a notebook in R"),
        (json.dumps(notebook(cell("x = 1\n" * (MOST_CODE // 5)))), "more than 256 KiB or 20,000 lines of code"),
        (json.dumps(notebook(*[cell("x = 1")] * 15_000)), "more than 256 KiB or 20,000 lines of code"),
    ],
)
def test_what_is_no_notebook_is_refused_in_a_line(whole: str, told: str) -> None:
    """Broken, empty, old, of another language, too long."""
    with pytest.raises(SpecError, match=told) as error:
        audit(whole, suffix=".ipynb")
    assert "\n" not in str(error.value)


def test_a_notebook_may_hold_pictures_but_not_anything(adamw_scale: Command, tmp_path: Path) -> None:
    """One of 2 MB is read; of one of 100 MB no more than the limit is."""
    file = tmp_path / "train.ipynb"
    whole = script()
    whole["cells"][1]["outputs"][0] = {"data": {"image/png": "A" * (2 << 20)}, "output_type": "display_data"}
    file.write_text(json.dumps(whole))
    assert "PyTorch" in adamw_scale("audit", str(file)).out
    with file.open("r+b") as opened:
        opened.truncate(100 << 20)
    outcome = adamw_scale("audit", str(file))
    assert outcome.code == 2
    assert "larger than 8192 KiB" in outcome.err
