"""How numbers and comments are spelled in configs."""

import re
from collections.abc import Iterable

from adamw_scale.frameworks.config import Config, Group
from adamw_scale.units import printable


def value(number: float) -> str:
    """A computed number for a config: eight significant digits, enough for 1e-7 and short enough to read."""
    return f"{number:.8g}"


def exact(number: float) -> str:
    """A number of the user's, as it was given."""
    return repr(number)


def yaml_number(text: str) -> str:
    """A number that YAML 1.1 takes for one: 1.0e-08, as 1e-08 is text to it; whatever is no such number stays."""
    return re.sub(r"^(\d+)e", r"\1.0e", text)


def whole(number: float | None) -> int:
    """Steps or sequences, which configs count whole; 0 for none."""
    return round(number or 0)


def one_for_all(config: Config) -> bool:
    """Whether one learning rate and one weight decay serve every decayed group."""
    return len({(group.lr_factor, group.weight_decay) for group in config.groups if group.weight_decay}) <= 1


def spared(config: Config) -> frozenset[str]:
    """Groups that do not decay."""
    return frozenset(group.group for group in config.groups if not group.weight_decay)


def lr_of(config: Config, group: Group | None = None) -> str:
    """The highest learning rate, of a group or of the config."""
    return value((config.peak_lr or 0.0) * (group.lr_factor if group else 1.0))


def betas_of(config: Config) -> tuple[str, str]:
    """Both betas, as the user gave them."""
    first, second = config.betas or (0.9, 0.999)
    return exact(first), exact(second)


def eps_of(config: Config, group: Group | None = None) -> str:
    """Epsilon, as the user gave it unless a group has its own."""
    eps = config.eps or 0
    return value(eps * group.eps_factor) if group and group.eps_factor != 1 else exact(eps)


def final_lr(config: Config) -> float:
    """Learning rate at the end of the run."""
    return (config.peak_lr or 0.0) * config.lr_schedule.final


def comment(lines: Iterable[str]) -> str:
    """Comment lines; whatever a recommendation's texts hold stays on its own line."""
    return "".join(f"# {printable(line)}\n" for line in lines)
