"""Where numbers come from: none appears that is not in the text, but a default that is marked as one."""

import re
from functools import cache

import pytest
from test_any_value import READERS, Source, sources

from adamw_scale.auditing.configs import audit, without_the_unknown
from adamw_scale.auditing.provenance import values_of
from adamw_scale.errors import AdamWScaleError
from adamw_scale.formats import parse
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.reading import fields_of
from adamw_scale.units import float_of

# Numbers that a shorter text says in another way, worked out from what is left of it.
COMPUTED_OTHERWISE = {
    ("megatron", "warmup_steps"),  # a part of lr_decay_iters, or else of train_iters
    ("nanogpt", "total_steps"),  # max_iters + 1, which lr_decay_iters happened to be
    ("timm", "warmup_fraction"),  # of epochs with or without the warm-up
    ("timm", "decay_fraction"),
}


def config_of(framework: str, text: str, suffix: str, lost: tuple[str, ...] = ()) -> Config | None:
    """What is known of a text; None where it is refused."""
    part = FRAMEWORKS[framework]
    try:
        return without_the_unknown(part().read(parse(text, suffix, part.formats)._replace(lost=lost)))
    except AdamWScaleError:
        return None


def told(framework: str, config: Config, text: str) -> dict[str, object]:
    """Numbers by field that the text does not hold and that are no default, nor hang on one."""
    return {
        each.field: each.value
        for each in values_of(framework, config, text=text)
        if each.origin == "computed" and each.of is None and each.value != 0
    }


@cache
def shortened(source: Source) -> list[tuple[str, str]]:
    """A text without one of its lines, and that line."""
    lines = source.text.splitlines(keepends=True)
    return [("".join(lines[:n] + lines[n + 1 :]), line) for n, line in enumerate(lines) if re.search(r"\w", line)]


@pytest.mark.parametrize("framework", READERS)
def test_a_line_that_is_gone_leaves_no_number_of_nobody(framework: str) -> None:
    """What is there without the line was there with it, or is a default, marked so."""
    invented = set()
    for source in sources(framework):
        whole = config_of(framework, source.text, source.suffix)
        if whole is None:  # several optimizers, one for each group
            continue
        before = {each.field: each.value for each in values_of(framework, whole, text=source.text)}
        for text, line in shortened(source):
            config = config_of(framework, text, source.suffix)
            for field, value in told(framework, config, text).items() if config is not None else ():
                if before.get(field) != value and (framework, field) not in COMPUTED_OTHERWISE:
                    invented.add((field, str(before.get(field)), str(value), line.strip()[:60]))
    assert sorted(invented) == []


@pytest.mark.parametrize("framework", READERS)
def test_where_text_was_lost_nothing_is_by_default(framework: str) -> None:
    """Every number that is told is told by a line."""
    for source in sources(framework):
        for text, _ in [(source.text, ""), *shortened(source)]:
            config = config_of(framework, text, source.suffix, lost=("$EXTRA_ARGS",))
            assert config is None or not config.defaults


def test_a_value_that_stands_elsewhere_is_no_default() -> None:
    """A section that the reader does not look into says a learning rate: then the default may not be what acts."""
    recipe = "output_dir: out\nbatch_size: 2\nepochs: 1\noptimizer:\n  _component_: torch.optim.AdamW\n"
    found = audit(recipe + "training:\n  optimizer:\n    lr: 1e-5\n", "torchtune", suffix=".yaml")
    assert {value.field: value.origin for value in found.values}["peak_lr"] == "unknown"
    plain = audit(recipe, "torchtune", suffix=".yaml")
    assert {value.field: value.origin for value in plain.values}["peak_lr"] == "default"


@pytest.mark.parametrize("framework", READERS)
def test_a_value_that_the_environment_may_change_says_so(framework: str) -> None:
    """Whatever it is a value of: in a script whose every value is a default of its own, none is simply read."""
    for source in sources(framework):
        if source.suffix != ".sh":
            continue
        text = re.sub(r"(?m)((?:^\s*|\s)--[\w-]+[ =])([\w.+-]+)(?=\s)", r"\1${SET:-\2}", source.text)
        config = config_of(framework, text, source.suffix)
        assert config is not None, text
        changed = {float_of(each) or each for each in re.findall(r"\$\{SET:-([\w.+-]+)", text)}
        for value in values_of(framework, config, text=text):
            parts = value.value if isinstance(value.value, tuple) else (value.value,)
            assert value.origin != "read" or not (changed - {1.0}).issuperset(parts), (value, text)


@pytest.mark.parametrize("framework", READERS)
@pytest.mark.parametrize(
    "field",
    [
        "betas",
        "eps",
        "weight_decay",
        "peak_lr",
        "warmup_steps",
        "warmup_fraction",
        "final_lr_fraction",
        "accumulation",
        "schedule",
    ],
)
def test_what_no_line_says_is_a_default_or_unknown(framework: str, field: str) -> None:
    """Once every line with a key of a field is gone, nobody reads that field there."""
    for source in sources(framework):
        lines = source.text.splitlines(keepends=True)
        kept = [line for line in lines if not any(field in fields_of(word) for word in re.findall(r"\w+", line))]
        config = config_of(framework, "".join(kept), source.suffix) if len(kept) < len(lines) else None
        for value in values_of(framework, config, text="".join(kept)) if config else ():
            assert value.field != field or value.origin in ("default", "unknown"), (value, "".join(kept))
