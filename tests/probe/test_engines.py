"""Every engine gives the serial engine's bits, each cohort once, errors in one line, and leaves nothing behind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import engine_program
import engine_tasks
import fake_slurm
import pytest

from adamw_scale.calibration import calibrate, plan
from adamw_scale.errors import MissingExtraError, ProbeError, SpecError
from adamw_scale.probe.engines import ENGINES, ray_cluster
from adamw_scale.probe.engines.engine import Cohort, Engine, in_cohorts
from adamw_scale.probe.sweep import Sweep
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.commands.guard import descendants
from adamw_scale.training.tasks.task import Progress, TaskSource

OPTIONS: dict[str, dict[str, str]] = {"slurm": {"cluster": "local"}}
LIBRARIES = {"ray": "ray", "slurm": "submitit"}
ENGINES_OF_WORKERS = [name for name in ENGINES if name != "serial"]
SECONDS = 240.0  # after which what should have happened long ago has not

Open = Callable[..., Engine]


@pytest.fixture(scope="module", autouse=True)
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The scripted task is installed here and wherever workers start."""
    folder = tmp_path_factory.mktemp("site")
    engine_tasks.install(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def cluster(path: None) -> Iterator[Any]:
    """A Ray cluster of two nodes with a core each."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture(params=list(ENGINES))
def name(request: pytest.FixtureRequest) -> str:
    """Each engine's name, where its library is installed."""
    if request.param in LIBRARIES:
        pytest.importorskip(LIBRARIES[request.param])
    if request.param == "ray":
        cluster = request.getfixturevalue("cluster")
        request.getfixturevalue("monkeypatch").setitem(OPTIONS, "ray", {"address": cluster.address})
    return str(request.param)


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """Where scripted tasks leave their traces."""
    folder = tmp_path / "diary"
    folder.mkdir()
    return folder


@pytest.fixture
def scripted(diary: Path, tmp_path: Path) -> Callable[..., TaskSource]:
    """The source of a scripted task that behaves as told."""

    def source(**options: str) -> TaskSource:
        return TaskSource("scripted", options={"diary": str(diary), **options}, folder=str(tmp_path))

    return source


def open_engine(name: str, source: TaskSource, jobs: int = 2, **options: str) -> Engine:
    """An engine as a test needs it."""
    return ENGINES[name](source, jobs, {**OPTIONS.get(name, {}), **options})


def cohorts_of(count: int, size: int = 1) -> list[Cohort]:
    """Batches of different probes of the scripted task."""
    task = engine_tasks.ScriptedTask(TaskSource("scripted"))
    run = task.default_run({})
    sweep = Sweep(task=task.identity(run), run=run, seeds=tuple(range(max(2, count * size))), min_tau_iter=1.0)
    configs = [sweep.config(seed, -1.0) for seed in range(count * size)]
    return [configs[i : i + size] for i in range(0, len(configs), size)]


def trained(engine: Engine, cohorts: list[Cohort]) -> tuple[dict[str, Any], Counter[str], list[Progress]]:
    """What each probe measured, how often it was yielded, and the news."""
    news: list[Progress] = []
    measured: dict[str, Any] = {}
    times = Counter[str]()
    with engine:
        for results in engine.run(cohorts, news.append):
            times.update(result.key for result in results)
            measured |= {result.key: measurements(result) for result in results}
    return measured, times, news


def measurements(result: ProbeResult) -> dict[str, Any]:
    """What must be the same wherever a probe is trained."""
    return result.model_dump(exclude={"seconds", "machine"})


def starts(diary: Path) -> Counter[str]:
    """How often each cohort was started, by its first probe."""
    return Counter(file.name.partition(".")[0] for file in diary.iterdir())


def wait_until(true: Callable[[], object]) -> None:
    """Wait for what happens in other processes."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A text of the user's, small, so that a probe takes a second."""
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_bytes(b"".join(b"line %d of a text, %d words\n" % (i, i * i % 97) for i in range(1500)))
    return str(file)


@pytest.fixture(scope="module")
def real(text: str) -> tuple[list[Cohort], dict[str, Any]]:
    """Two cohorts of two real probes each, and what the serial engine measures."""
    (sweep,) = plan(data=text, run={"dataset_size": 4096, "epochs": 4, "width": 16, "depth": 1}, seeds=2).sweeps
    configs = [sweep.config(seed, x) for seed in (0, 1) for x in (-1.0, 1.0)]
    cohorts = in_cohorts(configs, limit=lambda run: 2, jobs=2)
    reference, _, _ = trained(open_engine("serial", TaskSource("char-lm", text)), cohorts)
    return cohorts, reference


def test_char_lm_has_the_same_bits_everywhere(
    name: str, text: str, real: tuple[list[Cohort], dict[str, Any]], tmp_path: Path
) -> None:
    """The real task: losses, metrics and curves are the serial engine's to the last bit, every probe is heard of."""
    cohorts, reference = real
    measured, _, news = trained(open_engine(name, TaskSource("char-lm", text, folder=str(tmp_path))), cohorts)
    assert measured == reference
    assert {item.config.key for item in news} == set(reference)


def test_every_cohort_is_trained_once(name: str, scripted: Callable[..., TaskSource], diary: Path) -> None:
    """Five cohorts on two workers, in two stages: each probe comes back once, each cohort was started once."""
    cohorts = cohorts_of(5, size=2)
    keys = [config.key for cohort in cohorts for config in cohort]
    news: list[Progress] = []
    results: list[ProbeResult] = []
    with open_engine(name, scripted()) as engine:
        for stage in (cohorts[:2], cohorts[2:]):
            results += [result for done in engine.run(stage, news.append) for result in done]
    assert Counter(result.key for result in results) == Counter(keys)
    assert starts(diary) == Counter(cohort[0].key for cohort in cohorts)
    assert {item.config.key for item in news} == set(keys)
    assert all(0 < item.step <= item.steps for item in news)
    if name != "serial":
        assert {result.machine["threads"] for result in results} == {"1"}


def test_no_cohorts(name: str, scripted: Callable[..., TaskSource]) -> None:
    """Nothing to train is no trouble."""
    assert trained(open_engine(name, scripted()), []) == ({}, Counter(), [])


def test_a_probe_error_is_a_probe_error(name: str, scripted: Callable[..., TaskSource], diary: Path) -> None:
    """What a task refuses to train comes back as the same error with the same words, without another attempt."""
    with pytest.raises(ProbeError, match=r"^no such luck: try again$"):
        trained(open_engine(name, scripted(error="no such luck: try again")), cohorts_of(1))
    assert sum(starts(diary).values()) == 1


@pytest.mark.parametrize("name", [name for name in ENGINES_OF_WORKERS if name != "processes"], indirect=True)
def test_a_bug_is_one_line(name: str, scripted: Callable[..., TaskSource], diary: Path) -> None:
    """An exception that no task should raise ends the engine with its words, in one line, without another attempt."""
    with pytest.raises(ProbeError, match=r"^[^\n]*LookupError: a page is missing[^\n]*$"):
        trained(open_engine(name, scripted(bug="a page is missing")), cohorts_of(1))
    assert sum(starts(diary).values()) == 1


def test_an_unknown_option_is_refused(name: str, scripted: Callable[..., TaskSource]) -> None:
    """The message names the engine and the option."""
    with pytest.raises(SpecError, match=f"engine {name} has no option 'colour'"):
        open_engine(name, scripted(), colour="red")


@pytest.mark.parametrize("name", ENGINES_OF_WORKERS, indirect=True)
def test_a_worker_that_dies_is_replaced(name: str, scripted: Callable[..., TaskSource], diary: Path) -> None:
    """Each cohort kills its process (SIGKILL) the first time: the results are as if it had not."""
    cohorts = cohorts_of(2)
    reference = {config.key for cohort in cohorts for config in cohort}
    _, times, _ = trained(open_engine(name, scripted(deaths="1")), cohorts)
    assert times == Counter(reference)
    assert starts(diary) == Counter({cohort[0].key: 2 for cohort in cohorts})


@pytest.mark.parametrize("name", ENGINES_OF_WORKERS, indirect=True)
def test_a_cohort_that_always_kills_its_worker_is_an_error(
    name: str, scripted: Callable[..., TaskSource], diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many attempts the engine gives up, in one line."""
    monkeypatch.setattr(sys.modules[ENGINES[name].__module__], "ATTEMPTS", 2)
    with pytest.raises(ProbeError, match=r"^[^\n]+$"):
        trained(open_engine(name, scripted(deaths="99")), cohorts_of(1))
    assert sum(starts(diary).values()) == 2


def run_program(engine: str, source: TaskSource, cohorts: list[Cohort], leave: int | str | None) -> dict[str, float]:
    """Train in a program of its own, without the module's cluster; the losses it prints."""
    wanted = {
        "engine": engine,
        "options": {"cluster": "local"} if engine == "slurm" else {},
        "source": asdict(source),
        "cohorts": [[config.model_dump(mode="json") for config in cohort] for cohort in cohorts],
        "leave": leave,
    }
    outcome = subprocess.run(
        [sys.executable, engine_program.__file__, json.dumps(wanted)], capture_output=True, text=True, timeout=SECONDS
    )
    assert outcome.stderr == ""
    assert outcome.returncode == 0, "processes are left" if outcome.returncode == 3 else "it failed"
    assert outcome.stdout.count("\n") == (0 if leave == engine_program.KILLED else 1), outcome.stdout
    return dict(json.loads(outcome.stdout or "{}"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who was left behind")
@pytest.mark.parametrize("engine", ENGINES_OF_WORKERS)
def test_leaving_early_leaves_nothing_behind(engine: str, scripted: Callable[..., TaskSource], tmp_path: Path) -> None:
    """A program that leaves after the first of three cohorts prints what it prints and no more; no process stays."""
    pytest.importorskip(LIBRARIES.get(engine, "sys"))
    cohorts = [*cohorts_of(1), *cohorts_of(3)[1:]]
    slow = scripted(seconds="1")
    losses = run_program(engine, slow, cohorts, leave=1)
    assert len(losses) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["diary"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("engine", [name for name in ENGINES_OF_WORKERS if name != "slurm"])
def test_a_killed_program_takes_its_workers_along(
    engine: str, scripted: Callable[..., TaskSource], diary: Path
) -> None:
    """Nothing trains on for a program that is gone (jobs of a cluster do, and Ray's own two agents a while)."""
    pytest.importorskip(LIBRARIES.get(engine, "sys"))
    assert run_program(engine, scripted(seconds="600"), cohorts_of(2), leave=engine_program.KILLED) == {}
    workers = {int(file.read_text()) for file in diary.iterdir()}
    assert workers
    wait_until(lambda: all(is_dead(worker) for worker in workers))


def is_dead(process: int) -> bool:
    """Whether a process is gone, or a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def ray_workers(directory: Path) -> list[int]:
    """Processes of Ray that train in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cmdline").read_bytes().startswith(b"ray::_train") and (
                process / "cwd"
            ).readlink() == directory:
                found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_ten_kills_change_nothing(cluster: Any, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of real probes on two nodes, ten times a worker is killed at any moment: the bits are those of a quiet run."""
    monkeypatch.chdir(tmp_path)
    (sweep,) = plan(data=text, run={"dataset_size": 8192, "epochs": 16, "width": 16, "depth": 1}, seeds=2).sweeps
    cohorts: list[Cohort] = [[sweep.config(seed, x)] for seed in (0, 1) for x in (-1.0, 1.0)]
    source = TaskSource("char-lm", text, folder=str(tmp_path))
    reference, _, _ = trained(open_engine("serial", source), cohorts)
    killed: list[int] = []
    chance = random.Random(0)

    def kill() -> None:
        while len(killed) < 10:
            time.sleep(chance.uniform(0.1, 0.5))
            for worker in ray_workers(tmp_path)[:1]:
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)

    measured: dict[str, Any] = {}
    with open_engine("ray", source, address=cluster.address) as engine:
        killer = Thread(target=kill)
        killer.start()
        for results in engine.run(cohorts, lambda news: None):
            measured |= {result.key: measurements(result) for result in results}
        killer.join()
    assert len(set(killed)) == 10
    assert measured == reference


@pytest.mark.slow
def test_cohorts_land_on_all_nodes_and_survive_the_loss_of_one(
    cluster: Any, scripted: Callable[..., TaskSource]
) -> None:
    """The package travels to all three nodes of a cluster; when one is lost, its cohorts are trained on the others."""
    cohorts, lost = cohorts_of(6), cluster.add_node(num_cpus=1)
    with open_engine("ray", scripted(seconds="1", together="3"), jobs=3, address=cluster.address) as engine:
        results = []
        for done in engine.run(cohorts, lambda news: None):
            results += done
            if len(results) == 3:
                cluster.remove_node(lost, allow_graceful=False)
    assert Counter(result.key for result in results) == Counter(cohort[0].key for cohort in cohorts)
    assert len({result.machine["node"] for result in results}) == 3
    assert all("py_modules_files" in result.machine["packages"] for result in results)


def test_a_program_keeps_its_own_ray(cluster: Any, scripted: Callable[..., TaskSource]) -> None:
    """Where the program called `ray.init`, the engine joins that Ray and leaves it running."""
    ray = pytest.importorskip("ray")
    cluster.connect()
    try:
        _, times, _ = trained(open_engine("ray", scripted()), cohorts_of(2))
        assert len(times) == 2
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.parametrize(("address", "says"), [("127.0.0.1:9", "refused.*ray start --head"), ("nowhere", "nowhere")])
def test_no_ray_at_the_address(scripted: Callable[..., TaskSource], address: str, says: str) -> None:
    """An address where there is no Ray is one line that names it."""
    pytest.importorskip("ray")
    with pytest.raises(ProbeError, match=rf"^[^\n]*address={address}: [^\n]*{says}[^\n]*$"):
        trained(open_engine("ray", scripted(), address=address), cohorts_of(1))


@pytest.mark.skipif(sys.platform != "linux", reason="finds Ray's head in /proc")
def test_a_ray_whose_head_is_killed_is_one_line_and_leaves_nothing(
    scripted: Callable[..., TaskSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came back before is there; Ray itself would end the whole program a minute later."""
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_cluster, "HEAD_SECONDS", 3.0)
    before, results = set(descendants(os.getpid()) or ()), list[ProbeResult]()

    def train_without_head() -> None:
        for done in engine.run(cohorts_of(9), lambda news: None):
            results.extend(done)
            for process in started if len(results) == 1 else ():
                if b"gcs_server" in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(process, signal.SIGKILL)

    with open_engine("ray", scripted(seconds="2"), jobs=1) as engine:
        started = set(descendants(os.getpid()) or ()) - before
        with pytest.raises(ProbeError, match=r"^Ray's head at [^\n]* has not answered for 3 seconds; what is done"):
            train_without_head()
    assert 1 <= len(results) < 9
    deadline = time.monotonic() + 10
    while not all(map(is_dead, started)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(map(is_dead, started))


def test_more_gpus_than_there_are(
    cluster: Any, scripted: Callable[..., TaskSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ray of this machine's that lacks the GPUs of a cohort is an error, not a wait (a cluster may grow)."""
    with open_engine("ray", scripted(), gpus="1000", address=cluster.address) as engine:
        monkeypatch.setattr(engine, "_most_gpus", 0.0)
        with pytest.raises(ProbeError, match=r"1000 GPUs per cohort"):
            list(engine.run(cohorts_of(1), lambda news: None))


@pytest.mark.parametrize(
    ("engine", "option", "value"),
    [
        ("ray", "cpus", "many"),
        ("ray", "gpus", "-1"),
        ("slurm", "cluster", "lsf"),
        ("slurm", "time", "1"),
        ("slurm", "cpus", "0"),
        ("slurm", "gpus", "all"),
        ("slurm", "partition", "a\nb"),
    ],
)
def test_an_impossible_value_is_refused(
    scripted: Callable[..., TaskSource], engine: str, option: str, value: str
) -> None:
    """The message names option and value."""
    pytest.importorskip(LIBRARIES[engine])
    with pytest.raises(SpecError, match=f"--engine-option {option}="):
        ENGINES[engine](scripted(), 2, {option: value})


@pytest.mark.parametrize("engine", list(LIBRARIES))
def test_a_missing_library_is_an_extra(
    scripted: Callable[..., TaskSource], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its library an engine says what to install."""
    monkeypatch.setitem(sys.modules, LIBRARIES[engine], None)
    with pytest.raises(MissingExtraError, match=rf"adamw-scale\[{engine}\]"):
        open_engine(engine, scripted())


@pytest.mark.filterwarnings("ignore:.*_log:pytest.PytestUnraisableExceptionWarning")  # submitit leaves them open
def test_slurm_in_this_process(scripted: Callable[..., TaskSource], capfd: pytest.CaptureFixture[str]) -> None:
    """The cluster "debug" trains without any job."""
    pytest.importorskip("submitit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        _, times, news = trained(open_engine("slurm", scripted(), cluster="debug"), cohorts_of(2))
    assert set(times.values()) == {1}
    assert len({item.config.key for item in news}) == 2
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm of this machine's on PATH that is asked often; the folder of its jobs' states."""
    pytest.importorskip("submitit")
    from adamw_scale.probe.engines import job_clusters

    folder = tmp_path / "bin"
    folder.mkdir()
    fake_slurm.install(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr(job_clusters, "SECONDS_BETWEEN_QUESTIONS", 0.2)
    monkeypatch.setattr(job_clusters.Slurm, "grace", 0.5)
    return folder


def test_slurm_trains_a_job_array(
    slurm: Path, scripted: Callable[..., TaskSource], diary: Path, tmp_path: Path
) -> None:
    """All cohorts are one array of which `jobs` run at a time; one that dies is submitted again; nothing is left."""
    cohorts = cohorts_of(3)
    engine = open_engine("slurm", scripted(deaths="1"), cluster="slurm", partition="main", mem="1G", setup="umask 022")
    _, times, _ = trained(engine, cohorts)
    assert times == Counter(cohort[0].key for cohort in cohorts)
    assert set(starts(diary).values()) == {2}
    script = (slurm / "1000.sbatch").read_text()
    for line in ("--array=0-2%2", "--partition=main", "--mem=1G", "--cpus-per-task=1", "--time=60", "--requeue"):
        assert f"#SBATCH {line}\n" in script
    assert "\numask 022\n" in script
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "diary"]


def test_slurm_takes_a_cancelled_job_at_its_word(
    slurm: Path, scripted: Callable[..., TaskSource], tmp_path: Path
) -> None:
    """A job that someone cancelled is not submitted again: the error names its state and its log, which is kept."""

    def cancel(news: Progress) -> None:
        subprocess.run(["scancel", "--quiet", "1000"], check=True)

    with (
        open_engine("slurm", scripted(seconds="30"), cluster="slurm") as engine,
        pytest.raises(ProbeError, match=r"^job 1000 ended without a reply, CANCELLED[^\n]*log.err[^\n]*$"),
    ):
        list(engine.run(cohorts_of(1), cancel))
    assert len(list(tmp_path.glob("slurm/*/1000_0_log.err"))) == 1


@pytest.mark.parametrize("says", ["exec sleep 618", "echo; echo odd; exit 0", "exit 1"])
def test_slurm_that_does_not_answer_is_asked_again(
    slurm: Path, scripted: Callable[..., TaskSource], monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    """A queue that hangs, or says what nobody understands, holds nothing up but itself."""
    from adamw_scale.probe.engines import job_clusters

    monkeypatch.setattr(job_clusters, "ANSWER_SECONDS", 0.3)
    for name in ("squeue", "scancel"):
        (slurm / name).unlink()
        (slurm / name).write_text(f"#!/bin/sh\n{says}\n")
        (slurm / name).chmod(0o755)
    started = time.monotonic()
    _, times, _ = trained(open_engine("slurm", scripted(), cluster="slurm"), cohorts_of(1))
    assert set(times.values()) == {1}
    assert time.monotonic() - started < 60


def states_of(slurm: Path) -> list[str]:
    """What became of every job that was submitted."""
    return [file.read_text().partition(" ")[0] for file in slurm.glob("*.state")]


def test_slurm_jobs_are_cancelled_when_the_engine_leaves(slurm: Path, scripted: Callable[..., TaskSource]) -> None:
    """Leaving with the first result takes the other jobs out of the queue."""
    cohorts = cohorts_of(3)
    with open_engine("slurm", scripted(seconds="2"), cluster="slurm") as engine:
        assert next(iter(engine.run(cohorts, lambda news: None)))
    deadline = time.monotonic() + 1  # a job's script ends a moment after its reply is there
    while "RUNNING" in (states := states_of(slurm)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(states) == 3
    assert set(states) <= {"COMPLETED", "CANCELLED"}


def test_slurm_refuses_a_job(
    slurm: Path, scripted: Callable[..., TaskSource], capfd: pytest.CaptureFixture[str]
) -> None:
    """What sbatch says is the error, and is not printed besides."""
    with pytest.raises(ProbeError, match=r"invalid partition specified: nowhere$"):
        trained(open_engine("slurm", scripted(), cluster="slurm", partition="nowhere"), cohorts_of(1))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("engine", "options", "elsewhere"),
    [
        ("serial", {}, False),
        ("processes", {}, False),
        ("ray", {}, False),
        ("ray", {"address": "head:6379"}, True),
        ("slurm", {"cluster": "slurm"}, True),
        ("slurm", {"cluster": "local"}, False),
    ],
)
def test_a_login_node_needs_no_gpu(engine: str, options: dict[str, str], elsewhere: bool) -> None:
    """Only engines that train on this machine ask it for the device, and take its cores for a measure."""
    if engine in LIBRARIES:
        pytest.importorskip(LIBRARIES[engine])
    assert ENGINES[engine].elsewhere(options) is elsewhere


def test_cuda_is_asked_of_the_nodes(slurm: Path, tmp_path: Path) -> None:
    """Slurm's nodes say that they have none; an engine of this machine's refuses before it makes a folder."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ProbeError, match="no CUDA device here"):
        calibrate(tmp_path / "out", "byte-mlp", device="cuda", engine="slurm", engine_options={"cluster": "slurm"})
    assert list(slurm.glob("*.sbatch"))
    with pytest.raises(ProbeError, match="no CUDA device here"):
        calibrate(tmp_path / "none", "byte-mlp", device="cuda")
    assert not (tmp_path / "none").exists()
