"""Text is read as data: every format, what is refused, and what hostile text costs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import SpecError
from adamw_scale.formats import parse
from adamw_scale.formats.document import Call, Document, Unread


def test_python_assignments_and_arithmetic() -> None:
    """nanoGPT's configs: literals, arithmetic, names assigned earlier; code is not run."""
    document = parse("a = 5 * 8\nlr = 6e-4\nmin_lr = lr / 10\nx: int = -2\nflag = True\nz = exit()\n", ".py")
    known = {"a": 40, "lr": 6e-4, "min_lr": pytest.approx(6e-5), "x": -2, "flag": True}
    assert document.content == {**known, "z": "exit()"}
    assert isinstance(document.content["z"], Unread)


def test_warnings_of_other_peoples_code_stay_quiet() -> None:
    """Python warns of odd literals and escapes; an audit does not."""
    assert parse('x = 1if True else 2\ny = "\\d"\nlr = 1\n', ".py").content["lr"] == 1


def test_a_name_that_gets_code_is_unknown() -> None:
    """A value that is overwritten by code is not the old value."""
    assert isinstance(parse("lr = 1e-3\nlr = schedule(lr)\n", ".py").content["lr"], Unread)
    assert isinstance(parse("lr = 1e-3\nif x:\n    lr = 1e-4\n", ".py").content["lr"], Unread)


def test_a_name_that_changes_is_unknown_to_calls() -> None:
    """Scopes, order, += and parameters are not followed, so no value is guessed."""
    for text in ("lr = 1\nf(x=lr)\nlr = 2", "lr = 1\nlr *= 2\nf(x=lr)", "lr = 1\ndef g(lr): f(x=lr)"):
        (call,) = [call for call in parse(text, ".py").calls if call.name == "f"]
        assert isinstance(call.keywords["x"], Unread)
    (spread,) = [call for call in parse("kw = dict(x=1)\nf(**kw)", ".py").calls if call.name == "f"]
    assert spread.keywords == {"x": 1}
    (code,) = [call for call in parse("f(**kw())", ".py").calls if call.name == "f"]
    assert isinstance(code.keywords["**"], Unread)


def test_python_calls_keep_what_is_plain() -> None:
    """Arguments by keyword; what is code stays as its source."""
    document = parse("wd = 0.1\nopt = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=wd)\n", ".py")
    (call,) = [call for call in document.calls if call.name == "torch.optim.AdamW"]
    spelled = {"lr": "LR", "weight_decay": "wd"}
    assert call == Call(
        "torch.optim.AdamW", {"lr": "LR", "weight_decay": 0.1}, ("model.parameters()",), 2, spelled=spelled
    )
    assert isinstance(call.keywords["lr"], Unread)
    assert document.keys() == {"AdamW", "parameters", "lr", "weight_decay", "wd", "opt"}
    assert parse("a: {b: {c: 1}}", ".yaml").keys() == {"a", "a.b", "a.b.c", "b", "c"}


@pytest.mark.parametrize(
    "source",
    ["x = 9**9**9", "x = 10**70", "x = 'a' * 10**9", "x = 1/0", "x = 2.0**10000", "x = [0]*10**9", "x = 1e308*10 // 0"],
)
def test_arithmetic_stays_small(source: str) -> None:
    """No config can make the reader compute for long or fill memory."""
    assert isinstance(parse(source, ".py").content["x"], Unread)


def test_shell_arguments() -> None:
    """Both spellings, lists, flags without a value, variables, comments, several commands."""
    text = (
        "# a comment --lr 9\nLR=3e-4\nARGS=(\n  --lr $LR --betas 0.9 0.95 \\\n  --opt-eps=1e-8 --amp # --lr 1\n)\n"
        "torchrun --nproc_per_node 8 train.py ${ARGS[@]} --weight-decay 0.1 -b 64 -x && echo --lr\n"
    )
    content = parse(text, ".sh").content
    assert content["betas"] == ["0.9", "0.95"]
    assert (content["opt_eps"], content["amp"], content["nproc_per_node"]) == ("1e-8", "true", "8")
    assert (content["weight_decay"], content["b"], content["x"]) == ("0.1", "64", "true")


def test_shell_arithmetic() -> None:
    """Whole numbers of variables that are known; nothing is run."""
    content = parse(
        "T=1000000\nB=$((4 * 256))\ntrain --steps $((T / B)) --lr $((`touch x`)) --x $((Y + 1))\n", ".sh"
    ).content
    assert content["steps"] == "976"
    assert content["x"] == "$unknown"
    assert content["lr"].startswith("$")


def test_yaml_scalars_stay_text_and_aliases_are_followed() -> None:
    """`2e-5` is not a number to YAML 1.1, and `0500` none to people."""
    content = parse("lr: 2e-5\nsteps: 0500\nempty: null\nbase: &b {wd: 0.1}\nother: *b\n", ".yaml").content
    assert content == {"lr": "2e-5", "steps": "0500", "empty": None, "base": {"wd": "0.1"}, "other": {"wd": "0.1"}}


def test_yaml_tags_and_merge_keys() -> None:
    """A tag makes its value unknown, and an include whatever it may bring; merged keys are under those written."""
    document = parse("a: !include x.yaml\nb: !ENV ${LR}\nc: !!float 1e-3\nd: !custom {lr: 1}\ne: 2\n", ".yml")
    assert isinstance(document.content["a"], Unread)
    assert isinstance(document.content["b"], Unread)
    assert isinstance(document.content["d"], Unread)
    assert (document.content["c"], document.content["e"]) == ("1e-3", "2")
    assert document.lost == ("!include x.yaml",)
    merged = parse("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*b, *a]\n  x: 9\n", ".yaml").content["c"]
    assert merged == {"x": "9", "y": "3", "z": "4"}


@pytest.mark.parametrize(
    ("text", "format_"),
    [
        ('{"a": 1}', "JSON"),
        ("a: 1\nb: {c: 2}\n", "YAML"),
        ("[optimizer]\nlr = 1e-3\n", "TOML"),
        ("lr = 1e-3\nwd = 0.1\n", "Python"),
        ("python train.py --lr 1e-3\n", "shell arguments"),
        ("opt = AdamW(model.parameters(), lr=1e-3)\n", "Python"),
    ],
)
def test_format_is_found_out(text: str, format_: str) -> None:
    """Without a suffix."""
    assert parse(text).format == format_


REFUSED = {
    "cut.json": ('{"optimizer": {"type": "AdamW",', "not valid JSON"),
    "cut.yaml": ("optimizer: {lr: [1, 2", "not valid YAML"),
    "cut.py": ("args = TrainingArguments(learning_rate=", "not valid Python"),
    "cut.sh": ('python train.py --lr "1e-3', "not valid shell arguments"),
    "cut.toml": ("[optimizer\nlr = 1", "not valid TOML"),
    "list.yaml": ("- 1\n- 2\n", "no mapping"),
    "object.yaml": ("a: !!python/object/apply:os.system ['echo']\n", "tags are not read"),
    "merge.yaml": ("a: &a [1]\nb:\n  <<: *a\n", "merge key"),
    "itself.yaml": ("a: &a [*a]\n", "holds itself"),
    "twice.yaml": ("a: {lr: 1, lr: 2}\n", "given twice"),
    "deep.json": ("[" * 10_000, "nested too deeply"),
    "deep.yaml": ("a: " + "[" * 10_000, "nested too deeply"),
    "dashes.yaml": ("- " * 10_000 + "a", "nested too deeply"),
    "deep.py": ("x = " + "(" * 10_000, "nested too deeply"),
    "minus.py": ("x = " + "-" * 100_000 + "1", "not valid Python"),
    "dots.py": ("x = a" + ".b" * 100_000, "not valid Python"),
    "dots.toml": ("a." * 10_000 + "a = 1", "nested too deeply"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_config_is_refused_plainly(name: str) -> None:
    """One SpecError, whatever the parser underneath does."""
    text, says = REFUSED[name]
    with pytest.raises(SpecError, match=says):
        parse(text, "." + name.partition(".")[2])


def test_a_bomb_of_aliases_costs_nothing() -> None:
    """Ten levels of nine aliases would be 3.5 billion values written out; listing keys stops early."""
    lines = ["a0: &a0 {x: 1}"] + [
        f"a{n}: &a{n} {{{', '.join(f'k{m}: *a{n - 1}' for m in range(9))}}}" for n in range(1, 11)
    ]
    with pytest.raises(SpecError, match="no training config"):
        parse("\n".join(lines), ".yaml")


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.dictionaries(st.text(), each))
)
def test_json_is_read_as_it_is(value: object) -> None:
    """What was written comes back."""
    document = {"key": value}
    assert parse(json.dumps(document), ".json") == Document("JSON", document, text=json.dumps(document))


@given(st.text(max_size=300), st.sampled_from(["", ".json", ".yaml", ".toml", ".py", ".sh"]))
def test_any_text_is_a_document_or_one_error(text: str, suffix: str) -> None:
    """No other exception leaves the parser."""
    try:
        parse(text, suffix)
    except SpecError as error:
        message = str(error)
        assert "\n" not in message  # either outcome is fine
