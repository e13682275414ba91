"""Optimizers that Python text builds: whose they are by their import, and what they fill in where nothing is said.

A constructor is known by the library that it is imported from and its class, since one name has many defaults: an
AdamW without weight_decay decays by 0.01 in torch, by 0 in transformers, by 0.004 in Keras, by 1e-4 in optax.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Call, Document
from adamw_scale.frameworks.config import Group, Mend
from adamw_scale.frameworks.reading import UNREAD, Keys, keys_of_call
from adamw_scale.theory.optimizer_classes import CLASSES, turned
from adamw_scale.theory.parametrizations import GROUPS, HIDDEN, NORM_AND_BIAS

OLD_KEY = "weight_decay_rate"
BY_GROUP = "lr-by-group"  # code of the finding that groups have learning rates of their own
WATCH = "adamw-scale audit -- COMMAND"


class Constructor(NamedTuple):
    """A class of a library: its defaults, its arguments in order, what its weight decay means."""

    peak_lr: float | None
    weight_decay: float | None
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    order: tuple[str, ...] = ("params", "lr", "betas", "eps", "weight_decay")
    convention: str = ""  # as `optimizer_classes` has it

    def names(self, *wanted: str) -> tuple[str, ...]:
        """Those of several spellings that it takes."""
        return tuple(each for each in wanted if each in self.order)


_FUSED = ("params", "lr", "bias_correction", "betas", "eps", "adam_w_mode", "weight_decay")
_KERAS = ("learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay")
_KERAS_W = ("learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon")
_PADDLE = ("learning_rate", "beta1", "beta2", "epsilon", "parameters", "weight_decay")
_OPTAX = ("learning_rate", "b1", "b2", "eps", "eps_root", "mu_dtype", "weight_decay", "mask")
_BNB = tuple(prefix + "{}" + suffix for prefix in ("", "Paged") for suffix in ("", "8bit", "32bit"))
_DEFAULTS: dict[tuple[str, str], Constructor] = {
    ("torch", "AdamW"): Constructor(1e-3, 0.01),
    ("torch", "Adam"): Constructor(1e-3, 0.0),
    ("transformers", "AdamW"): Constructor(1e-3, 0.0, eps=1e-6),
    **{
        ("bitsandbytes", name.format(base)): Constructor(1e-3, decay)
        for name in _BNB
        for base, decay in (("AdamW", 0.01), ("Adam", 0.0))
    },
    **{
        ("bitsandbytes", name.format("Lion")): Constructor(
            1e-4, 0.0, (0.9, 0.99), order=("params", "lr", "betas", "weight_decay")
        )
        for name in _BNB
    },
    ("lion_pytorch", "Lion"): Constructor(1e-4, 0.0, (0.9, 0.99), order=("params", "lr", "betas", "weight_decay")),
    ("apex", "FusedAdam"): Constructor(1e-3, 0.0, order=_FUSED),
    ("deepspeed", "FusedAdam"): Constructor(1e-3, 0.0, order=_FUSED),
    ("deepspeed", "DeepSpeedCPUAdam"): Constructor(
        1e-3,
        0.0,
        order=("model_params", "lr", "bias_correction", "betas", "eps", "weight_decay"),
    ),
    **{("torchao", f"AdamW{bits}"): Constructor(1e-3, 0.01) for bits in ("8bit", "4bit", "Fp8")},
    ("optimi", "AdamW"): Constructor(None, 0.01, (0.9, 0.99), 1e-6, ("params", "lr", "betas", "weight_decay", "eps")),
    ("keras", "AdamW"): Constructor(1e-3, 0.004, eps=1e-7, order=_KERAS_W),
    ("keras", "Adam"): Constructor(1e-3, 0.0, eps=1e-7, order=_KERAS),
    ("tensorflow_addons", "AdamW"): Constructor(
        1e-3,
        None,
        eps=1e-7,
        order=("weight_decay", "learning_rate", "beta_1", "beta_2", "epsilon"),
    ),
    ("optax", "adamw"): Constructor(None, 1e-4, order=_OPTAX),
    ("optax", "lion"): Constructor(
        None,
        1e-3,
        (0.9, 0.99),
        order=("learning_rate", "b1", "b2", "mu_dtype", "weight_decay", "mask"),
    ),
    ("paddle", "AdamW"): Constructor(1e-3, 0.01, order=_PADDLE),
}
CONSTRUCTORS = {named: made._replace(convention=CLASSES[named]) for named, made in _DEFAULTS.items()}
_OPTIMIZER = re.compile(
    r"(?!.*(?:Config|Groups?|Schedule[rs]?|Args|Arguments)$)"
    r"(?:\w*(?:Adam|Adan|Adafactor|Adagrad|Adadelta|Lion|SGD|RMSprop|LAMB|Lamb(?!da)|LARS|Muon|Shampoo|Sophia|Prodigy)\w*)"
)
_OPTAX_NAMES = frozenset({"adamw", "adam", "lion", "sgd", "lamb", "adafactor", "rmsprop", "nadamw", "adabelief"})
_OWN_LR = ("lr", "learning_rate")  # of a group; Paddle's is a factor
# How people say that a group has what is usually spared: by name, or by the number of dimensions.
_SPARES = re.compile(
    r"(?i)no_?n?_?(decay|wd)|not?_?decay|undecay|without_(wd|decay)|norm|bias|\bnd\b|ndim|\.dim\(\)|shape|gain|1d|2d|"
    r"matri|vector|exclud|skip|spare|kernel"
)
_FLAT = re.compile(r"(?:[\w.]*\.)?\w*(?:parameters|params|weights|variables)")


def library_of(name: str) -> str:
    """The library that a resolved name is of: "torch" for torch.optim.AdamW; empty for a bare name."""
    root, _, rest = name.partition(".")
    if root in ("tensorflow", "tf_keras"):
        return "keras"
    if rest == "":
        return ""
    return {"paddlenlp": "paddle"}.get(root, root)


def is_optimizer(name: str) -> bool:
    """Whether a call is, by its name, that of an optimizer's class."""
    last = name.rpartition(".")[2]
    if library_of(name) == "optax":
        return last in _OPTAX_NAMES
    return bool(_OPTIMIZER.fullmatch(last)) and last[:1].isupper()


def constructor_of(name: str, otherwise: str = "") -> Constructor | None:
    """What a call builds; `otherwise` is the library of a name that no import explains.

    Example:
        >>> constructor_of("transformers.AdamW").weight_decay
        0.0
    """
    last = name.rpartition(".")[2]
    return CONSTRUCTORS.get((library_of(name), last)) or (
        CONSTRUCTORS.get((otherwise, last)) if library_of(name) not in LIBRARIES else None
    )


LIBRARIES = frozenset(library for library, _ in CONSTRUCTORS)


def constructors_in(*modules: str) -> dict[str, Constructor]:
    """Constructors by the dotted paths under which configs name the classes of these modules.

    Example:
        >>> constructors_in("torch.optim")["torch.optim.AdamW"].weight_decay
        0.01
    """
    return {
        f"{module}.{name}": made
        for module in modules
        for (library, name), made in CONSTRUCTORS.items()
        if library == library_of(module)
    }


def built(document: Document) -> dict[str, Call]:
    """The different optimizers that a text builds, by what they are and where."""
    distinct: dict[str, Call] = {}
    for call in document.calls:
        if is_optimizer(call.name):
            distinct.setdefault(repr((call.name, call.keywords, call.positional[1:])), call)
    return {f"{call.name}({_shown(call)}) in {call.where}": call for call in distinct.values()}


def _shown(call: Call) -> str:
    lr = call.keywords.get("lr", call.keywords.get("learning_rate"))
    return "" if lr is None else f"lr {str(lr)[:30]}"


def the_optimizer(document: Document, otherwise: str) -> tuple[Call, Constructor]:
    """The one optimizer that a text builds.

    Raises:
        SpecError: it builds none, several, or one that is not known here.
    """
    found = built(document)
    if not found:
        raise SpecError(
            "no call of an optimizer that is read here (AdamW or Adam, say) is in this Python file: pass the file that "
            f"has it, or look at the training itself: {WATCH}"
        )
    if len(found) > 1:
        raise SpecError(
            f"{len(found)} different optimizers are built in this file, {'; '.join(list(found)[:6])}: pass one with a "
            f"single call of AdamW, or look at the training itself: {WATCH}"
        )
    ((where, call),) = found.items()
    constructor = constructor_of(call.name, otherwise)
    if constructor is None:
        raise SpecError(f"{where}: its weight decay is not known here; look at the training itself: {WATCH}")
    return call, constructor


def keys_of_optimizer(document: Document, call: Call, constructor: Constructor) -> Keys:
    """The arguments of an optimizer's call."""
    return keys_of_call(document, call, constructor.order)


def read_optimizer(document: Document, keys: Keys, call: Call, made: Constructor) -> dict[str, Any]:
    """Fields of a `Config` that an optimizer's arguments say, with what its class fills in."""
    convention, default = turned(made.convention, keys.yes), made.weight_decay
    if convention == "torch-adam-decoupled":  # which is AdamW, and so is told
        convention, default = "pytorch", 0.01
    weight_decay = keys.number("weight_decay")
    if weight_decay is None:
        if default is None:
            keys.unknown.append("weight_decay")
        weight_decay = keys.filled("weight_decay", default, "weight_decay")
    lr_names = made.names("lr", "learning_rate")
    peak_lr = keys.number_or("peak_lr", made.peak_lr, *lr_names)
    if peak_lr is None:
        keys.unknown.append("peak_lr")
    eps = keys.number_or("eps", made.eps, *made.names("eps", "epsilon"))
    betas = (
        keys.pair_or("betas", made.betas, "betas")
        if "betas" in made.order
        else keys.betas(made.betas, *made.names("b1", "beta1", "beta_1"), *made.names("b2", "beta2", "beta_2"))
    )
    fields = {
        "convention": convention,
        "optimizer": call.name,
        "peak_lr": peak_lr,
        "betas": betas,
        "eps": eps,
        **read_groups(document, keys, peak_lr, weight_decay, eps, params=_params(document, keys, made)),
    }
    return {**fields, **_set_by_code(document, keys, fields["groups"])}


def _set_by_code(document: Document, keys: Keys, groups: tuple[Group, ...]) -> dict[str, Any]:
    """What is no longer known where the text writes into the optimizer's param_groups."""
    changed: dict[str, Any] = {}
    for name, field in (("lr", "peak_lr"), ("weight_decay", "weight_decay")):
        told = document.content.get(f"param_groups.{name}")
        if told is not None:
            keys.settle(field)
            keys.unknown.append(field)
            message = f"{name} of the optimizer's groups is {told}, by code"
            keys.note(UNREAD, f"param_groups.{name}", message, fix=f"look at the training itself: {WATCH}")
            changed["weight_decay_known" if name == "weight_decay" else field] = (
                False if name == "weight_decay" else None
            )
    if "weight_decay_known" in changed:
        changed["groups"] = tuple(group.model_copy(update={"weight_decay": 1.0}) for group in groups)
    return changed


def _params(document: Document, keys: Keys, made: Constructor) -> str:
    """Source of what an optimizer is given to train."""
    name = next(iter(made.names("params", "model_params", "parameters")), "")
    source = str(keys.source(name) or "")
    return str(document.content.get(source, source))


def read_groups(
    document: Document,
    keys: Keys,
    peak_lr: float | None,
    weight_decay: float | None,
    eps: float | None,
    undecayed: frozenset[str] = frozenset(),
    params: str = "",
) -> dict[str, Any]:
    """Fields of a `Config`: groups of {"params": ..., "weight_decay": ...}, and whether all their decays are known.

    They are told by name where they are named as here; among others the largest decay is taken for the matrices', the
    smallest for that of the norms. A group that says nothing has the optimizer's `weight_decay`. Where no group says
    anything all have that, or without any groups all but the `undecayed`; groups that code makes of `params` may
    spare some, or all. Code counts as an unknown decay above 0.
    """
    rows = [keys.within(call.keywords) for call in document.calls if call.name == "dict" and "params" in call.keywords]
    later = any(call.last == "add_param_group" for call in document.calls)
    if later and rows and is_flat(params) and not params.startswith(("[", "(")):
        rows.insert(0, keys.within({}))  # the parameters that the optimizer is built with
    later = later and not rows
    _note_old_keys(document, keys, rows)
    if {row.text("name") for row in rows} != set(GROUPS):
        _note_own_lrs(keys, rows, peak_lr)
    if not any("weight_decay" in row or row.unread("weight_decay") for row in rows):
        unclear = later or (bool(params) and not rows and not is_flat(params))
        spared = frozenset() if rows else undecayed
        known = weight_decay is not None
        if unclear and (not weight_decay or "weight_decay" in keys.defaults):
            keys.settle("weight_decay")
            keys.unknown.append("weight_decay")
            known = False
        groups = tuple(
            Group(
                group=name,
                weight_decay=0.0 if name in spared else 1.0 if weight_decay is None else weight_decay,
                known=not unclear or name == HIDDEN,
            )
            for name in GROUPS
        )
        return {"groups": groups, "weight_decay_known": known}
    decays = [_decay_of(row, weight_decay) for row in rows]
    said = [each for each in decays if each is not None]
    complete = len(said) == len(decays)
    if complete:
        silent = [row for row in rows if "weight_decay" not in row]
        if silent and weight_decay and "weight_decay" in keys.defaults:
            message = (
                f"a group without a weight_decay of its own gets the optimizer's default of {weight_decay:g}, as if it "
                "had not been put apart"
            )
            keys.warning("group-by-default", "weight_decay", message, fix='write "weight_decay": 0.0 into the group')
        keys.settle("weight_decay")
        keys.changeable += ["weight_decay"] * ("dict.weight_decay" in document.overridable)
    most = max(said, default=0.0) if complete else 1.0
    groups = tuple(
        Group(group=name, weight_decay=min(said, default=most) if name == NORM_AND_BIAS else most) for name in GROUPS
    )
    if len(set(said)) > 1 and not any(_SPARES.search(_source(document, row)) for row in rows):
        groups = tuple(g.model_copy(update={"known": g.group == HIDDEN}) for g in groups)  # whose tensors are code
    named = {row.text("name"): (row, decay) for row, decay in zip(rows, decays, strict=True)}
    if set(named) == set(GROUPS):
        groups = tuple(_read_group(name, *named[name], peak_lr or 1e-3, eps or 1e-8) for name in GROUPS)
    return {"groups": groups, "weight_decay_known": complete}


def _note_old_keys(document: Document, keys: Keys, rows: list[Keys]) -> None:
    """Groups that say their decay as the first optimizers for BERT took it, which torch's keep and never look at."""
    if number := sum(row.source(OLD_KEY) is not None for row in rows):
        alone = len(re.findall(rf"\b{OLD_KEY}\b", document.text)) == number
        message = f"no optimizer reads the {OLD_KEY} of a group, which decays by the optimizer's weight_decay instead"
        mend = Mend(key=OLD_KEY, name="weight_decay") if alone else None
        keys.error("ignored-key", OLD_KEY, message, fix="write weight_decay", mend=mend)


def _source(document: Document, row: Keys) -> str:
    """What a group's tensors are made of, and what that is called."""
    source = str(row.source("params") or "")
    return f"{source} {document.content.get(source, '')}"


def _note_own_lrs(keys: Keys, rows: list[Keys], peak_lr: float | None) -> None:
    """Groups of unlike learning rates, of which nobody knows which the matrices have."""
    own = {row.number(*_OWN_LR) or peak_lr for row in rows}
    if len(own) > 1 or any(row.unread(key) for row in rows for key in _OWN_LR):
        message = "groups have learning rates of their own, and which tensors are in them is code"
        keys.note(BY_GROUP, "lr", message, fix=f"pass the matrices' as --lr, or look at the training: {WATCH}")
        keys.settle("peak_lr")
        keys.unknown.append("peak_lr")


def _decay_of(row: Keys, weight_decay: float | None) -> float | None:
    """A group's own decay, or the optimizer's; None where it is code."""
    if "weight_decay" in row:
        return row.number("weight_decay")
    return None if row.unread("weight_decay") else weight_decay


def _read_group(name: str, row: Keys, weight_decay: float | None, lr: float, eps: float) -> Group:
    """A group that is named as here; 1 stands for a decay that is not known."""
    return Group(
        group=name,
        weight_decay=1.0 if weight_decay is None else weight_decay,
        lr_factor=(row.number("lr") or lr) / lr,
        eps_factor=(row.number("eps") or eps) / eps,
    )


def is_flat(params: str) -> bool:
    """Whether code that an optimizer is given is a list of parameters, and not of groups.

    Example:
        >>> is_flat("filter(lambda p: p.requires_grad, net.parameters())"), is_flat("get_groups(model)")
        (True, False)
    """
    if "group" in params.lower() or "named_parameters" in params:
        return False
    return "parameters()" in params or bool(_FLAT.fullmatch(params)) or "parameters(" in params


def evidence(document: Document) -> Iterator[str]:
    """Libraries whose known optimizers a text builds, by import."""
    for call in document.calls:
        library = library_of(call.name)
        if library in LIBRARIES and is_optimizer(call.name):
            yield library
