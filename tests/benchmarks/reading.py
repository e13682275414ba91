"""Public configs through `audit`: how many of each family are read, asked about and refused, and whether numbers agree.

    python tests/benchmarks/reading.py CLONES

CLONES holds a git clone of each repository of `FAMILIES`, named owner+name. Nothing of them is run or kept. Of YAML
that is read, learning rate and weight decay are compared with the numbers that a parser finds under those names.
"""

import argparse
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from adamw_scale.auditing import Audit, audit
from adamw_scale.errors import SpecError

NAMES = {"peak_lr": {"lr", "learning_rate", "max_lr"}, "weight_decay": {"weight_decay", "wd"}}
SAME = 1e-9


class Family(NamedTuple):
    """Files of a repository: those whose path and text match."""

    repository: str
    paths: str
    text: str


FAMILIES = {
    "axolotl": Family("axolotl-ai-cloud/axolotl", r"^examples/.*\.ya?ml$", "learning_rate:"),
    "LLaMA-Factory": Family("hiyouga/LLaMA-Factory", r"^examples/.*\.(ya?ml|sh)$", "learning_rate"),
    "torchtune": Family("pytorch/torchtune", r"^recipes/configs/.*\.yaml$", "lr:"),
    "GPT-NeoX": Family("EleutherAI/gpt-neox", r"^configs/.*\.yml$", '"lr"|lr:'),
    "Megatron-LM": Family("NVIDIA/Megatron-LM", r"^examples/.*\.(sh|yaml)$", "--lr"),
    "LLM Foundry": Family("mosaicml/llm-foundry", r"^scripts/train/.*\.yaml$", "lr:"),
    "LitGPT": Family("Lightning-AI/litgpt", r"^config_hub/.*\.yaml$", "."),
    "ms-swift": Family(
        "modelscope/ms-swift", r"^examples/.*\.sh$", r"(?s)^(?!.*\bmegatron (sft|pt|rlhf)\b).*--learning_rate"
    ),
    "Megatron-SWIFT": Family("modelscope/ms-swift", r"^examples/.*\.sh$", r"\bmegatron (sft|pt|rlhf)\b"),
    "nanotron": Family("huggingface/nanotron", r"\.ya?ml$", "learning_rate:"),
    "NeMo Automodel": Family("NVIDIA-NeMo/Automodel", r"^examples/.*\.yaml$", "lr:"),
    "levanter": Family("stanford-crfm/levanter", r"^config/.*\.yaml$", "learning_rate:"),
    "TRL": Family("huggingface/alignment-handbook", r"^recipes/.*\.yaml$", "learning_rate"),
    "nanoGPT": Family("karpathy/nanoGPT", r"^config/train.*\.py$", "."),
    "DeepSpeed": Family("microsoft/DeepSpeedExamples", r"\.json$", '"optimizer"'),
    "DeepSpeed-Chat": Family(
        "microsoft/DeepSpeedExamples", r"DeepSpeed-Chat/training/step[12].*\.sh$", "--learning_rate"
    ),
    "big_vision": Family("google-research/big_vision", r"^big_vision/configs/.*\.py$", r"\.optax_name = "),
}


def files(clone: Path, family: Family) -> Iterator[tuple[str, str]]:
    """Paths and texts of a family, of what is checked in."""

    def git(*words: str) -> bytes:
        return subprocess.run(["git", "-C", str(clone), *words], capture_output=True, check=True).stdout

    for path in git("ls-tree", "-r", "--name-only", "HEAD").decode().splitlines():
        if re.search(family.paths, path):
            text = git("show", f"HEAD:{path}").decode(errors="replace")
            if re.search(family.text, text):
                yield path, text


def numbers(content: Any, names: set[str]) -> Iterator[float]:
    """Numbers under keys of these names, at any depth."""
    for key, value in content.items() if isinstance(content, dict) else ((None, each) for each in content):
        if isinstance(value, dict | list):
            yield from numbers(value, names)
        elif str(key).replace("-", "_") in names:
            try:
                yield float(value)
            except (TypeError, ValueError):
                continue


def differences(found: Audit, text: str) -> list[str]:
    """Fields that are read and have no such number in the YAML, or are by default where it has one."""
    try:
        content = yaml.safe_load(re.sub(r"(?<=\s)!\w+", "", text))
    except yaml.YAMLError:
        return []
    values = {value.field: value for value in found.values}
    wrong = []
    for field, names in NAMES.items():
        value, there = values.get(field), list(numbers(content, names))
        if value is None or not isinstance(value.value, float):
            continue
        is_there = any(abs(each - value.value) <= SAME * abs(each) for each in there)
        if (value.origin == "read" and not is_there) or (value.origin == "default" and any(there)):
            wrong.append(f"{field} {value.value:g} ({value.origin}), and there {there[:3]}")
    return wrong


def main() -> None:
    """Print a row for each family, and every file that is refused or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path)
    options = parser.parse_args()
    rows, compared, wrong = [], 0, 0
    for name, family in FAMILIES.items():
        counts: Counter[str] = Counter()
        for path, text in files(options.clones / family.repository.replace("/", "+"), family):
            try:
                found = audit(text, suffix=Path(path).suffix)
            except SpecError as error:
                asked = "--framework" in str(error) or "--command" in str(error)
                counts["asked" if asked else "refused"] += 1
                print(f"{'asked' if asked else 'refused'} {family.repository}/{path}: {str(error)[:160]}")
                continue
            counts["read"] += 1
            if Path(path).suffix in (".yaml", ".yml"):
                compared += 1
                for each in differences(found, text):
                    wrong += 1
                    print(f"WRONG {family.repository}/{path}: {each}")
        rows.append((name, counts))
    print("\n| family | read | asked | refused |\n|---|---|---|---|")
    for name, counts in rows:
        print(f"| {name} | {counts['read']} | {counts['asked']} | {counts['refused']} |")
    print(f"\n{compared} YAML files compared, {wrong} values wrong")


if __name__ == "__main__":
    main()
