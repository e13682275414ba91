"""Whose config a text is, by what is distinctive of a framework; what could be of several is asked about.

What is certain goes first: a call that is imported from the framework's package, a path in it ("_target_"), the name of
its command or script. Then keys, of which it takes several that few frameworks share. Families that are not read here
and use the same keys are known by theirs, so that they are not taken for another.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document, entries
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.optimizer_calls import is_optimizer, library_of
from adamw_scale.frameworks.reading import refuse_several

ENOUGH = 2.0  # keys that no other framework has, from which they tell whose they are
CLOSE = 0.75  # of the best score, from which a second framework is as likely
BUILT_WITH = frozenset(
    {"transformers", "diffusers", "sentence_transformers"}
)  # models of theirs are in others' configs
PATH_KEYS = frozenset({"_target_", "_component_", "_CLASS_", "class_path", "recipe"})  # whose values are places in code


class Stranger(NamedTuple):
    """A family that is not read here: its keys, how many of them tell, and words of its text."""

    title: str
    keys: frozenset[str] = frozenset()
    enough: int = 1
    words: str = r"(?!)"
    like: tuple[str, ...] = ()


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


STRANGERS = (
    Stranger("Ultralytics' YOLO", _keys("lr0 lrf warmup_bias_lr hsv_h fliplr"), 2, r"\bultralytics\b", ("timm",)),
    Stranger(
        "minGPT",
        _keys("warmup_tokens final_tokens grad_norm_clip lr_decay"),
        2,
        r"(?m)^[ \t]*(from|import)\s+mingpt\b",
        ("nanogpt",),
    ),
    Stranger(
        "LightningCLI",
        _keys(
            "seed_everything trainer.max_epochs trainer.accelerator trainer.strategy trainer.precision trainer.logger "
            "trainer.callbacks trainer.max_steps"
        ),
        1,
        like=("litgpt", "lightning"),
    ),
    Stranger(
        "Mosaic's GLUE finetuning",
        _keys("base_run_name default_seed local_pretrain_checkpoint_folder starting_checkpoint_load_path tasks.mnli"),
        1,
        like=("llm-foundry", "composer"),
    ),
    Stranger("Mosaic's diffusion", words=r"_target_:\s*(diffusion|composer)\b", like=("llm-foundry",)),
    Stranger("code with diffusers", words=r"(?m)^[ \t]*(from|import)\s+diffusers\b", like=("huggingface",)),
    Stranger(
        "a script from before the Trainer",
        _keys("bert_model do_lower_case predict_batch_size"),
        2,
        like=("huggingface",),
    ),
    Stranger("a script without the Trainer", words=r"\w_no_trainer\.py", like=("huggingface",)),
    Stranger("MMEngine", _keys("optim_wrapper param_scheduler train_cfg default_hooks"), 2, like=("pytorch",)),
)


def recognized(document: Document) -> str:
    """The framework whose config a document certainly is, by its code, or by keys of which it shows enough.

    Raises:
        SpecError: it shows too little, it could be of several, or it is of a family that is not read here.
    """
    refuse_several(document)
    readable = {name: part for name, part in FRAMEWORKS.items() if part.reads}
    parts = {name: part for name, part in readable.items() if document.format in part.formats}
    certain = [name for name, part in parts.items() if _is_certain(part, document)]
    own = [name for name in certain if not parts[name].by_optimizer] or certain
    names = [name for name in own if not any(parts[name] in parts[other].__mro__[1:] for other in own)]
    if len(names) == 1 and not parts[names[0]].by_optimizer:
        return names[0]
    if stranger := next((each for each in STRANGERS if _is_of(each, document)), None):
        like = " or ".join(name for name in stranger.like if name in FRAMEWORKS)
        raise SpecError(
            f"this looks like {stranger.title}, which is not read here"
            + (f", though it shares keys with {like}: pass --framework to read it as such" if like else "")
            + "; or look at the training itself: adamw-scale audit -- COMMAND"
        )
    if len(names) == 1:
        return names[0]
    if names:
        raise SpecError(f"this could be of {' or '.join(names)}: pass --framework with one of them")
    return _by_keys(document, parts, ", ".join(readable))


def _by_keys(document: Document, parts: dict[str, type[Framework]], readable: str) -> str:
    """The framework of which a document shows enough keys that few share; `readable` are all that there are."""
    bare = next((call for call in document.calls if is_optimizer(call.name)), None)
    inherited = {
        name: {sign for base in part.__bases__ for sign in getattr(base, "signs", ())} for name, part in parts.items()
    }
    by_keys = {name: part for name, part in parts.items() if not part.by_optimizer}
    shared = Counter(sign for name, part in by_keys.items() for sign in part.signs - inherited[name])
    called: dict[str, list[str]] = {}
    for call in document.calls:
        called.setdefault(call.last, []).append(call.name)
    scores = {name: _score(part, part.shown(document), called, shared) for name, part in by_keys.items()}
    best = max(scores.values(), default=0.0)
    likely = [name for name, score in scores.items() if best and score >= best * CLOSE]
    names = [  # one that extends another has to show more than that
        name
        for name in likely
        if not any(
            (parts[other] in parts[name].__mro__[1:] and scores[other] >= scores[name])
            or (parts[name] in parts[other].__mro__[1:] and scores[other] > scores[name])
            for other in likely
        )
    ]
    if bare is not None and (best < ENOUGH or document.format == "Python"):
        raise SpecError(
            f"{bare.last} in {bare.where} is of an import that is not known, and so are its "
            "defaults: pass --framework pytorch if it is torch's, or whose it is"
        )
    if best >= ENOUGH and len(names) == 1:
        return names[0]
    which = (
        f"it could be of {' or '.join(names)}"
        if len(names) > 1
        else f"it shows too few keys of {names[0]}"
        if names
        else "it shows the keys of none that is read"
    )
    raise SpecError(f"whose config this is cannot be told, {which}: pass --framework with one of {readable}")


def _score(part: type[Framework], shown: frozenset[str], called: dict[str, list[str]], shared: Counter[str]) -> float:
    """How much of a framework its signs show; a function of its own, not imported from elsewhere, counts double."""
    score = 0.0
    for sign in shown:
        elsewhere = sign in called and all(not _may_be_of(part, name) for name in called[sign])
        score += 0.0 if elsewhere else (2.0 if sign in called else 1.0) / shared[sign]
    return score


def _may_be_of(part: type[Framework], name: str) -> bool:
    """Whether a call may be of a framework: by its bare or relative name, or its package."""
    root = name.partition(".")[0]
    return "." not in name or root in ("", "self", "cls") or root[:1].isupper() or root in part.packages


def _is_certain(part: type[Framework], document: Document) -> bool:
    """Whether a call or a path of a document is in the framework's package, or its script is run."""
    for call in document.calls:
        last, root = call.last, call.name.partition(".")[0]
        if "." in call.name and root in part.packages and last in part.signs:
            return True
        if part.by_optimizer and library_of(call.name) in part.packages and is_optimizer(call.name):
            return True
    for path in _paths_in_code(document.content):
        root, last = path.partition(".")[0], path.rpartition(".")[2]
        if root in part.packages and not part.by_optimizer and (root not in BUILT_WITH or last in part.signs):
            return True
    return document.format == "shell arguments" and bool(part.scripts and re.search(part.scripts, _code(document.text)))


def _code(text: str) -> str:
    """Shell text without the lines that are comments."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _paths_in_code(content: dict[str, Any]) -> Iterator[str]:
    """Dotted values of keys that name places in code."""
    return (value for _, key, value in entries(content) if key in PATH_KEYS and isinstance(value, str))


def _is_of(stranger: Stranger, document: Document) -> bool:
    text = _code(document.text) if document.format == "shell arguments" else document.text
    return (len(stranger.keys & document.keys()) >= stranger.enough > 0 and bool(stranger.keys)) or bool(
        re.search(stranger.words, text)
    )
