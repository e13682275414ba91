"""Shell text against bash itself: what a launch gets is what bash would hand it, or said to be unknown."""

import os
import re
import shlex
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamw_scale.errors import SpecError
from adamw_scale.formats import parse
from adamw_scale.formats.document import Unread
from adamw_scale.formats.shell import Launch, launches_of

# What follows is run by bash with `python` and `torchrun` as functions that print their arguments; no variable is set.
SCRIPTS = r"""
python train.py --lr 1e-3 --weight-decay 0.1
===
LR=3e-4
python train.py --lr $LR --wd "${LR}"
===
LR=${LR:-3e-4}; WD=${WD-0.1}
python train.py --lr $LR --wd $WD --steps ${STEPS:-1000}
===
: ${LR:=3e-4}
: "${WD:=0.1}"
python train.py --lr $LR --wd $WD
===
A=1; B=$A; C=${B}0
python train.py --lr $C
===
T=1000000; S=1000
python train.py --steps $(( ${T} * 3 / ${S} )) --lr 1 --x $((T*3/S))
===
T=1000000
python train.py --lr 1 --y $(( (T + 7) % 13 )) --z $(( -7 / 2 )) --w $((2**10))
===
# partly unknown
N=8
python train.py --lr 1 --a $((N > 4 ? 16 : 32)) --b $((N == 8 && 1)) --c $((N << 2 | 1)) --d $((0x10 + 010)) --e $((!N))
===
A=" --lr 1"
A+=" --wd 2"
python train.py $A
===
A=(--lr 1 --betas 0.9 0.95)
A+=(--wd 0.1 "--name" "a b")
python train.py "${A[@]}" --n ${#A[@]}
===
A=(
  --lr 1   # the rate \
  --wd 2
  # --steps 3
)
python train.py ${A[@]} --x
===
# --lr 9 \
python train.py --lr 1 \
  --wd 2 \
  --steps 3 # --lr 8
===
python train.py --lr 1 --name 'it is > "quoted" | x' --wd 2 > /dev/stdout 2>&1
===
X="a > b"; echo "y > $X" > /dev/null
python train.py --lr 1 --note "$X" | cat
===
cat > /dev/null <<EOF
{"lr": 9, "--lr": 8}
python x.py --lr 7
EOF
python train.py --lr 1 --wd 2
===
cat <<'EOF' > /dev/null
--lr $X `rm -rf /nowhere`
EOF
python train.py --lr 1
===
M="800M"
case "$M" in
  "800M") B=32; LR=1e-3 ;;
  "8B") B=8; LR=1e-4 ;;
esac
python train.py --lr $LR --batch-size $B
===
M=13b
case $M in
  7b|8b) LR=1 ;;
  13*) LR=2 ;;
  *) LR=3 ;;
esac
python train.py --lr $LR
===
M=zz
case $M in [0-9]*) LR=1;; *) LR=3;; esac
python train.py --lr $LR
===
N=4
if [ $N -gt 2 ]; then LR=1; elif [ $N -gt 1 ]; then LR=2; else LR=3; fi
python train.py --lr $LR
===
N=1
if [[ $N -gt 2 ]]; then LR=1; elif [[ "$N" == 1 && ! $N == 2 ]]; then LR=2; else LR=3; fi
python train.py --lr $LR
===
U=true
if [ "$U" = true ]; then A="--lr 1"; else A="--lr 2"; fi
if [[ $U != true ]]; then A="--lr 5"; fi
python train.py $A
===
if [ -z "$LR" ]; then LR=3e-4; fi
[ -z "$WD" ] && WD=0.1
[ -n "$BS" ] || BS=8
python train.py --lr $LR --wd $WD --batch-size $BS
===
U=1
if test "$U" -eq 1; then LR=1; fi
((U == 1)) && WD=2
python train.py --lr $LR --wd $WD
===
# partly unknown
if [ "$MODE" = big ]; then LR=1; else LR=2; fi
python train.py --lr $LR --wd 0.1
===
# partly unknown
A="--lr 1 --wd 2"
if [ -n "$EXTRA" ]; then A="$A --extra"; fi
python train.py $A --steps 3
===
# partly unknown
A=(--lr 1)
if [ "$BIG" = 1 ]; then A+=(--lr 2 --big); fi
python train.py "${A[@]}" --wd 3
===
for lr in 1e-3 1e-4; do echo $lr > /dev/null; done
python train.py --lr 1 --x $lr
===
A=""
for i in 1 2 3; do A="$A --data d$i"; done
python train.py --lr 1 $A
===
A=(--lr 1)
for x in a b; do A+=(--name $x); done
python train.py "${A[@]}"
===
for lr in 1e-3; do python train.py --lr $lr; done
===
LR=1
while [ $# -gt 0 ]; do case $1 in --lr) LR=$2; shift 2;; *) shift;; esac; done
python train.py --lr $LR --wd 1
===
# partly unknown
i=0
while [ $i -lt 3 ]; do i=$((i+1)); done
python train.py --lr 1 --i $i
===
# partly unknown
python train.py --lr $1 --wd ${2:-0.1} --steps 5
===
# partly unknown
python train.py --lr 1 "$@"
===
# partly unknown
python train.py --lr 1 $EXTRA_ARGS --wd 2
===
f() { python train.py --lr $1 "${@:2}" --n $#; }
f 1e-3 --wd "a b"
===
f() {
  local lr=$1
  local x
  x=5
  python train.py --lr "$lr" --x $x
}
lr=9
f 2
===
f() { LR=$1; return; LR=7; }
LR=1
f 2
python train.py --lr $LR
===
usage() { echo no; exit 1; }
N=2
[ $N -lt 1 ] && usage
python train.py --lr $N
===
export LR=1 WD="2"
declare -r S=3
readonly B=4
python train.py --lr $LR --wd $WD --steps $S --batch-size $B
===
declare -A M=([a]=1 [b]=2)
K=b
python train.py --lr ${M[$K]} --x ${M["a"]}
===
# partly unknown
A=(1 2 3)
A[1]=7
python train.py --lr ${A[0]} --x ${A[1]} --y "${A[@]:1}" --z ${A[-1]} --n ${#A}
===
X=pre/model.tar.gz
python train.py --lr 1 --a ${X%.*} --b ${X%%.*} --c ${X#*/} --d ${X##*.}
===
# partly unknown
X=pre/model.tar.gz
python train.py --lr 1 --e ${X/model/m} --f ${X//a/A} --g ${#X} --h ${X:4:5} --i ${X^^}
===
# partly unknown
A=x; B=A
python train.py --lr 1 --x ${!B} --y ${A:+yes} --z "${Q:+no}" --w
===
E=""
python train.py --lr 1 --a ${E:-d} --b "${E-e}" --c ${E:+f} --d
===
LR=1 python train.py --lr 2
WD=5
===
torchrun --nproc_per_node 8 --nnodes=2 train.py --lr 1 -j 4 --no-amp --x=-1 --y -2
===
python -m pkg.train base.yml lr=3e-4 steps=100
===
python train.py lr=3e-4 optimizer.weight_decay=0.1 ++trainer.max_steps=1000 ~x "a=[1,2]" +b=c
===
python train.py --lr 1 --json '{"a": [1, 2], "b": "$X"}' --t "a\"b\\c\$d"
===
X='a  b'
python train.py --lr 1 --a $X --b "$X"
===
# partly unknown
X=$'a\tb'
python train.py --lr 1 --b "$X"
===
# partly unknown
python train.py --lr 1 --date $(echo 5) --wd `echo 6` --steps 7
===
# partly unknown
X=$(echo 1e-3)
python train.py --lr $X --wd 2
===
cmd="python train.py --lr 1 --wd 2"
eval $cmd
===
cmd="python train.py --lr 1 --name 'a b'"
eval "$cmd"
===
cmd="python train.py --lr 1 --wd 2"
$cmd --steps 3
===
bash -c "python train.py --lr 1 --wd 2" || python train.py --lr 1 --wd 2
===
(LR=2; echo $LR) > /dev/null
LR=${LR:-1}
python train.py --lr $LR
===
{ LR=2; WD=3; }
python train.py --lr $LR --wd $WD
===
LR=1; unset LR
python train.py --lr ${LR:-5} --wd "x$LR"
===
LR=1
true && LR=2
false || WD=3
python train.py --lr $LR --wd $WD
===
set -e
set -- a b c
python train.py --lr 1 --x $2 --n $# --all "$@"
===
set -- a b c
shift
python train.py --lr 1 --x $1 --n $#
===
let i=4+1
((i+=2))
((i++))
python train.py --lr $i
===
# partly unknown
declare -i n=3
python train.py --lr $n
===
A="--lr 1
  --wd 2
"
python train.py $A \
  --steps 3
===
python train.py \
    --lr 1 \
    `# a comment in between` \
    --wd 2
===
if ! [ 1 = 2 ]; then LR=1; fi
if [ 1 = 1 -a 2 = 3 ]; then LR=2; fi
if [ 1 = 2 ] || [ 3 = 3 ]; then WD=3; fi
python train.py --lr $LR --wd $WD
===
N=8; P=2
GBS=$((N / P * 16))
python train.py --lr 1 --global-batch-size $GBS --x "$((GBS))k"
===
# partly unknown
DP=$((GPUS * 2))
python train.py --lr 1 --x $DP
===
D=${D:-4}
python train.py --lr 1 --x $((D * 2))
===
MODE=${1:-small}
if [ $MODE = small ]; then LR=1; else LR=2; fi
python train.py --lr $LR
===
X="--lr 1 # --wd 2"
python train.py $X
===
python train.py --lr=1 --name=a"b c"'d e' --x="1 2"
===
# partly unknown
F="*.nothing"
python train.py --lr 1 --files *.nothing "$F" --y "*"
===
# partly unknown
python train.py --lr 1 --set {a,b} --t {1..3}
===
# partly unknown
python train.py --lr 1 --dir ~/x --home $HOME/y
===
LR=1; LR=2 :
python train.py --lr $LR
===
# partly unknown
A=(--lr 1 --wd 2); B=("${A[@]}" --steps 3)
python train.py "${B[@]}" --none "${C[@]}" --last
===
A=(--lr 1); S="${A[*]} --wd 2"
python train.py $S
===
A=("--lr 1" "--wd 2")
python train.py ${A[@]}
===
A=(); python train.py --lr 1 "${A[@]}" --n ${#A[@]} ${A[0]} --end
===
time python train.py --lr 1
===
cd /nowhere 2> /dev/null || true
mkdir -p /tmp && python train.py --lr 1
===
python train.py --lr 1 & wait
===
python train.py --lr 1; exit 0; python train.py --lr 2
===
if false; then python train.py --lr 2; fi
python train.py --lr 1
===
LR=1
f() { LR=2; }
X=$(f)
python train.py --lr $LR
===
LR=1
echo x | LR=2
python train.py --lr $LR
===
# partly unknown
read LR < /dev/null
python train.py --lr 1 --x "$LR" --wd 2
===
# partly unknown
printf -v LR "%s" 4
python train.py --lr $LR --wd 1
===
# partly unknown
source /dev/null
LR=1
python train.py --lr $LR
===
# partly unknown
IFS=,
X=1,2
python train.py --lr $X --wd 3
===
# partly unknown
X=a; case $X in b) ;; a) LR=1 ;& c) LR=2 ;; esac
python train.py --lr $LR
===
until [ 1 = 1 ]; do LR=5; done
LR=${LR:-1}
python train.py --lr $LR
===
# partly unknown
for ((i = 0; i < 3; i++)); do LR=$i; done
python train.py --lr $LR --wd 1
===
LR=1
for x in "$@"; do LR=$x; done
python train.py --lr $LR
===
# partly unknown
N=2
if [ $N -eq 2 ]
then
  LR=1
fi
if [[ $N =~ ^[0-9]+$ ]]; then WD=1; else WD=2; fi
python train.py --lr $LR --wd $WD
===
# partly unknown
if [ -f /nowhere ]; then LR=1; else LR=2; fi
python train.py --lr $LR --wd 1
===
LR=1e-3; python train.py --lr ${LR} --wd ${WD:-$LR} --x ${Y:-"a b"} --y "${Y:-a  b}" --z ${Y:-a b}
===
declare A; A=3; typeset B=4
python train.py --lr $A --wd $B
===
WORLD=${WORLD:-8}; BS=$((1024 / WORLD))
[[ $BS -ge 128 ]] && ACC=1 || ACC=2
python train.py --lr 1 --bs $BS --acc $ACC
===
X=1; [ "$X" == "1" ] && { LR=1; WD=2; } || { LR=3; WD=4; }
python train.py --lr $LR --wd $WD
===
A=1
A+=2
python train.py --lr $A
===
function go {
  python train.py --lr "$1"
}
go 1
===
LRS=(1 2 3); IDX=1
LR=${LRS[$IDX]}
python train.py --lr $LR --x ${LRS[IDX+1]}
===
# partly unknown
X="a-b_c"; Y="${X//-/_}"; Z=${X,,}
python train.py --lr 1 --y $Y --z $Z --w ${X:0:1}
===
[ "${A:-0}" -eq 0 ] && LR=1
python train.py --lr $LR
===
# partly unknown
A="--lr 2"
while [ "$UNK" = 1 ]; do A="1e-3"; done
python train.py --lr 1 --x $A --steps 3
===
# partly unknown
A+="--lr 2"
python train.py --lr 1 --x $A --steps 3
===
# partly unknown
B[0]+=3
if [ -n "$A" ]; then B+=4; fi
python train.py --lr 1 --x "$B" --steps 3
===
# partly unknown
f() { A=$((A + 1)); }
A=1
while [ $A -lt 4 ]; do f; done
python train.py --lr 1 --x $A
===
# partly unknown
if [ -n "$A" ]; then A="x=1"; fi
A+=""
: ${A:="1e-3"}
python train.py --lr 1 $A --steps 3
===
LR=1e-3 WD=0.1
python train.py --lr $LR --wd ${WD}
===
A=1 B="2 3" \
C=4 \
  D=5
LR=2 WD=$C
LR=3 python train.py --lr $LR --wd $WD --b "$B" --d $D
===
A=1
A=2 B=3 # two
C=$A D=$B \
  python train.py --lr $A --b $B
""".strip("\n").split("\n===\n")
PRINTING = r"""
python() { printf '%s\0' launch python "$@"; }
torchrun() { printf '%s\0' launch torchrun "$@"; }
export -f python torchrun
"""


def launches_of_bash(script: str, folder: Path, **variables: str) -> list[list[str]]:
    """The words of every launch, as bash makes them."""
    environment = {**variables, "PATH": os.environ["PATH"], "HOME": str(folder)}
    command = ["bash", "-c", f"{PRINTING}\n{script}"]
    run = subprocess.run(command, capture_output=True, cwd=folder, env=environment, timeout=20, check=False)
    launches: list[list[str]] = []
    for word in run.stdout.decode().split("\0")[:-1]:
        if word.endswith("launch"):
            launches.append([])
        else:
            launches[-1].append(word)
    return launches


def content_of(words: list[str]) -> dict[str, object]:
    """Arguments by name of a command whose words are known."""
    return launches_of(shlex.join(words))[0].document.content


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_arguments_are_those_of_bash(script: str, tmp_path: Path) -> None:
    """All of them, or for what is partly unknown never another value."""
    ran = launches_of_bash(script, tmp_path)
    found = launches_of(script)
    assert 0 < len(found) == len(ran)
    for launch, words in zip(found, ran, strict=True):
        if script.startswith("# partly unknown"):
            assert_no_other_value(launch, words)
        else:
            assert (launch.document.content, launch.document.lost) == (content_of(words), ())


def assert_no_other_value(launch: Launch, words: list[str]) -> None:
    """What is not said to be unread is what bash says, and what is missing from ours is said to be lost."""
    ours, expected = launch.document.content, content_of(words)
    certain = {name: value for name, value in ours.items() if not isinstance(value, Unread)}
    assert certain == {name: expected.get(name) for name in certain}
    assert launch.document.lost or ours.keys() == expected.keys()


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_what_an_environment_changes_is_said_to_be_a_default(script: str, tmp_path: Path) -> None:
    """With every variable that a script reads set outside, what is read and no default stays what it was."""
    names = set(re.findall(r"\$\{?([A-Z_]+)", script)) - {"HOME", "IFS"}
    ran = launches_of_bash(script, tmp_path, **dict.fromkeys(names, "9"))
    for launch, words in zip(launches_of(script), ran, strict=False):
        document, expected = launch.document, content_of(words)
        if not document.lost:
            read = {name: value for name, value in document.content.items() if not isinstance(value, Unread)}
            fixed = {name: value for name, value in read.items() if name not in document.overridable}
            assert fixed == {name: expected.get(name) for name in fixed}


NAMES = st.sampled_from(["A", "B", "LR", "ARGS"])
WORDS = st.sampled_from(
    ["1e-3", "--lr 2", "a b", "x=1", "", "$A", "${B}", "${LR:-5}", '"$ARGS"', "'q $A'", "$((2 + 3))"]
)


@st.composite
def scripts(draw: st.DrawFn) -> str:
    """Assignments, some under conditions, and a launch that uses them."""
    lines = []
    for _ in range(draw(st.integers(1, 6))):
        name, word = draw(NAMES), draw(WORDS)
        word = word if word.startswith(('"', "'", "$")) else f'"{word}"'
        line = draw(
            st.sampled_from(["{n}={w}", "{n}+={w}", "export {n}={w}", "{n}=({w})", "{n}+=({w})", ": ${{{n}:={w}}}"])
        )
        set_ = line.format(n=name, w=word)
        around = draw(
            st.sampled_from(
                [
                    "{}",
                    'if [ -n "$A" ]; then {}; fi',
                    "[[ $B == 1* ]] && {}",
                    "case $LR in 1*) {} ;; *) B=3 ;; esac",
                    "f() {{ {}; }}; f",
                    "for i in 1 2; do {}; done",
                    "( {} )",
                ]
            )
        )
        lines.append(around.format(set_))
    used = draw(st.lists(st.sampled_from(["$A", '"$B"', "$LR", "${ARGS[@]}", '"${ARGS[@]}"', "--wd", "--n=${#A}"])))
    return "\n".join([*lines, f"python train.py --lr 1 {' '.join(used)} --steps 3"])


@settings(max_examples=150, deadline=None)
@given(scripts())
def test_generated_scripts_say_what_bash_does(script: str) -> None:
    """Assignments of all kinds, branches, functions, loops: never another value."""
    (words,) = launches_of_bash(script, Path.cwd())
    (launch,) = launches_of(script)
    assert_no_other_value(launch, words)


@pytest.mark.parametrize(
    ("text", "launched"),
    [
        ("pip install --upgrade x\nmkdir -p out\npython tokenize.py --input a\npython train.py --lr 1\n", ["train.py"]),
        ("python train.py --lr 1\npython eval.py --batch_size 8 --ckpt x\n", ["train.py"]),
        ("python a.py --lr 1\npython a.py --batch_size 8\n", ["a.py", "a.py"]),
        ("python a.py --lr 1\npython a.py --lr 1\n", ["a.py"]),
        ("srun -N 2 --gres=gpu:8 singularity exec --nv a.sif python -u -m pkg.train --lr 1\n", ["pkg.train"]),
        ("accelerate launch --config_file c.yaml --num_processes 8 train.py --lr 1\n", ["train.py"]),
        ("env A=1 nohup deepspeed --hostfile h train.py --lr 1 > log 2>&1 &\n", ["train.py"]),
        ("timeout 3600 uv run python train.py --lr 1\n", ["train.py"]),
        ("mpirun -np 8 fairseq-train data --lr 1\n", ["fairseq-train"]),
        ("$LAUNCHER train.py --lr 1\n", ["train.py"]),
        ("python -m torch.distributed.launch --nproc_per_node 8 --module pkg.train --lr 1\n", ["pkg.train"]),
        ("f() { python train.py --lr $1; }\n", ["train.py"]),
        ("if [ $A = b ]; then python one.py --lr 1; else python two.py --lr 2; fi\n", ["one.py", "two.py"]),
        ("ARGS=(--lr 1 --wd 2)\n", [""]),
        ("echo --lr 1\n", []),
    ],
)
def test_what_a_launch_is(text: str, launched: list[str]) -> None:
    """A command with arguments of an optimizer, whatever starts it; failing that, arguments that stand ready."""
    assert [launch.program for launch in launches_of(text)] == launched


def test_launchers_say_how_many_processes() -> None:
    """And nothing else of theirs is an argument of the program."""
    text = "torchrun --nproc_per_node 8 --nnodes=2 --master_port 1 train.py --lr 1 --batch-size 4\n"
    assert launches_of(text)[0].document.content == {
        "lr": "1",
        "batch_size": "4",
        "nproc_per_node": "8",
        "nnodes": "2",
    }


def test_what_is_lost_is_listed() -> None:
    """Variables that may be further arguments, branches with what they would add, files; no value of a flag is."""
    text = (
        'source env.sh\nif [ "$M" = big ]; then LR=1; MORE="--wd 2"; else LR=2; fi\nOTHER=$UNUSED\n'
        'torchrun --master_addr $HOST train.py --lr $LR --data *.bin --fp16 --x 1 $MORE $EXTRA "$@"\n'
    )
    (launch,) = launches_of(text)
    assert launch.document.lost == (
        "source env.sh",
        '$MORE (--wd 2 or nothing, by if [ "$M" = big ])',
        "$EXTRA",
        '"$@"',
    )


@pytest.mark.parametrize(
    ("arguments", "lost"),
    [
        ('--save "$OUT"', False),
        ("--save $OUT", False),
        ("--save=$OUT", False),
        ("--save $OUT/last --x", False),
        ('--save "$OUT" --x $(date +%s)', False),
        ('"$DATA" --fp16', False),
        ("data/$NAME --fp16", False),
        ("data_path=$DATA", False),
        ("--fp16 x $MORE", True),
        ("$MORE", True),
        ("$A$B", True),
        ("$(cat more.txt)", True),
        ("$@", True),
        ('"$@"', True),
        ('--fp16 "$@"', True),
        ('--fp16 "${MORE[@]}"', True),
        ("--fp16 $EXTRA_ARGS", True),
        ("--fp16 ${OPTS}", True),
        ('"$FLAGS"', True),
        ('--flags "$FLAGS"', False),
        ("--$NAME 3", True),
        ("${DEBUG:+--wd 3}", True),
        ("--x ${DEBUG:+--wd 3}", True),
    ],
)
def test_only_what_may_be_further_arguments_is_lost(arguments: str, lost: bool) -> None:
    """A variable that is the value of one flag is one word, as it is in quotes; a list never is."""
    (launch,) = launches_of(f"python train.py {arguments} --lr 1\n")
    assert bool(launch.document.lost) is lost
    assert launch.document.content["lr"] == "1"


BOMBS = {
    "doubling": "X=a\n" + "X=$X$X\n" * 60 + "python train.py --lr $X\n",
    "arrays": "A=(a b)\n" + 'A+=("${A[@]}" "${A[@]}")\n' * 60,
    "calls": "f() { f; f; }\nf\n",
    "fan": "".join(f"f{n}() {{ f{n + 1}; f{n + 1}; }}\n" for n in range(10)) + "f10() { X=1; X=2; }\n" + "f0\n" * 40,
    "loops": "for a in 1 2 3 4 5 6 7 8 9; do " * 6 + "X=$a; " + "done; " * 6,
    "deep": "if true; then\n" * 5000,
    "subshells": "( " * 20_000,
    "expansions": "X=${A:-" * 5000,
    "substitutions": "X=" + "$(" * 20_000,
    "arithmetic": "X=$((" + "(" * 5000 + "1" + ")" * 5000 + "))",
    "power": "X=$((9**9**9**9))",
    "pipes": "a | " * 16_000,
    "heredocs": "<<A\n" * 12_000,
    "opened": "A=( " * 12_000,
    "indices": "a[" * 30_000,
    "evals": "X='eval $X'\neval $X\n",
    "patterns": "case " + "a" * 900 + " in " + "*a" * 400 + "b) X=1;; esac\n",
    "launches": "".join(f"python train.py --lr {n}\n" for n in range(2000)),
    "long": "python train.py --lr 1 " + "a " * 10**6,
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_text_costs_little(name: str) -> None:
    """A document or one line, in seconds of a loaded machine; alone it takes under one."""
    started = time.process_time()
    with suppress(SpecError):
        parse(BOMBS[name], ".sh")
    assert time.process_time() - started < 5


def test_nothing_is_run(tmp_path: Path) -> None:
    """Neither commands nor what they would be made of."""
    file = tmp_path / "ran"
    launches_of(
        f"touch {file}\nX=$(touch {file})\nY=`touch {file}`\neval 'touch {file}'\npython a.py --lr $X > {file}\n"
    )
    assert not file.exists()


@pytest.mark.parametrize(
    ("launch", "lost"),
    [
        ("llamafactory-cli train sft.yaml --learning_rate 1e-5", ("sft.yaml",)),
        ("trl sft --config sft.yaml --learning_rate 1e-5", ("sft.yaml",)),
        ("python train.py config/mine.py --learning_rate=1e-5", ("config/mine.py",)),
        ("python -m MaxText.train MaxText/configs/base.yml learning_rate=1e-5", ()),
        ("python train.py --deepspeed ds.json --learning_rate 1e-5", ()),
    ],
)
def test_a_config_that_a_launch_names_says_what_it_does_not(launch: str, lost: tuple[str, ...]) -> None:
    """So nothing is by default."""
    (found,) = launches_of(launch)
    assert found.document.lost == lost


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ("export WD=0.1\nenv WD=0.7 bash -c 'python a.py --lr 1 --wd $WD'\n", "0.7"),
        ("export WD=0.1\nenv -u WD bash -c 'python a.py --lr 1 --wd ${WD:-0.2}'\n", "0.2"),
        ("export WD=0.1\nenv -i bash -c 'python a.py --lr 1 --wd ${WD:-0.2}'\n", "0.2"),
        ("WD=0.1\nWD=0.3 &\nwait\npython a.py --lr 1 --wd $WD\n", "0.1"),
        ("WD=0.1\n{ WD=0.3; python b.py; } &\npython a.py --lr 1 --wd $WD\n", "0.1"),
    ],
)
def test_other_processes_have_their_own_variables(script: str, value: str) -> None:
    """As bash has it: env says what a shell sees, and what is put behind sets nothing here."""
    assert parse(script, ".sh").content["wd"] == value
