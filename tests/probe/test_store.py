"""The store: append-only, content-keyed, shared by many writers, honest about damage; and the lock of its folder."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from writers import result

from adamw_scale.errors import CalibrationError
from adamw_scale.probe.store import HOLDER_FILE, LOCK_FILE, ProbeStore, folder_lock

WRITERS = Path(__file__).with_name("writers.py")
HOLD = (
    "import sys, time; from pathlib import Path; from adamw_scale.probe.store import folder_lock\n"
    "with folder_lock(Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with three results, one of them diverged."""
    with ProbeStore(tmp_path / "probes.jsonl") as store:
        store.append(result(0), result(1, status="diverged"), result(2))
    return tmp_path / "probes.jsonl"


def read(path: Path) -> ProbeStore:
    """What a file holds."""
    with ProbeStore(path, read_only=True) as store:
        return store


def test_comes_back_bit_for_bit(file: Path) -> None:
    """Results survive writing and reading exactly; a diverged probe is a result."""
    store = read(file)
    assert store.results == {r.key: r for r in (result(0), result(1, status="diverged"), result(2))}
    assert store.notices == []
    assert store.results[result(1).key].value == float("inf")


def test_results_without_later_fields_are_read(tmp_path: Path) -> None:
    """What was written before curves, metrics and machines were kept still counts."""
    old = json.loads(result(5).model_dump_json(by_alias=True))
    for later in ("reason", "curve", "metrics", "machine"):
        del old[later]
    del old["config"]["precision"]
    (tmp_path / "probes.jsonl").write_text(json.dumps(old) + "\n")
    assert read(tmp_path / "probes.jsonl").results[result(5).key].loss == 7.3


@pytest.mark.parametrize("cut", [2, 40, 300])
def test_a_torn_last_line_is_skipped_and_the_store_goes_on(file: Path, cut: int) -> None:
    """Whatever part of the last line a crash left, the others stay, and nothing that is there changes."""
    torn = file.read_bytes()[:-cut]
    file.write_bytes(torn)
    with ProbeStore(file) as store:
        assert list(store.results) == [result(0).key, result(1).key]
        assert store.notices == [f"{file}: line 3 is torn or no JSON; skipped, as if never trained"]
        store.append(result(2))
        store.append(result(3))
        assert result(3).key in store.results
    assert file.read_bytes().startswith(torn + b"\n{")
    assert len(read(file).results) == 4


def test_a_whole_last_line_without_its_end_counts(file: Path) -> None:
    """A writer that died between the line and its newline had measured the probe."""
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with ProbeStore(file) as store:
        assert len(store.results) == 3
        store.append(result(3))
    assert file.read_bytes().startswith(whole)
    assert read(file).notices == []


@pytest.mark.parametrize("torn", [b'{"schema":"adamw-sc', b"\x00" * 50, b"\xff\xfe", b"[" * 100_000, b"}"], ids=repr)
def test_a_torn_line_anywhere_is_skipped(file: Path, torn: bytes) -> None:
    """Half a line, the zeros of a lost page, or anything else that is no JSON costs its own probe only."""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + torn + b"\n" + b"".join(lines[1:]))
    store = read(file)
    assert len(store.results) == 3
    assert store.notices == [f"{file}: line 2 is torn or no JSON; skipped, as if never trained"]


def test_many_torn_lines_are_one_notice(file: Path) -> None:
    """Another encoding, say, does not flood the terminal."""
    whole = file.read_bytes()
    file.write_bytes(whole + b"{\n" * 500)
    assert read(file).notices == [
        f"{file}: 500 lines, the first of them 4, are torn or no JSON; skipped, as if never trained"
    ]


def test_a_byte_order_mark_is_no_part_of_a_line(file: Path) -> None:
    """Some editors put one in front."""
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(read(file).results) == 3
    assert read(file).notices == []


@pytest.mark.parametrize("edit", [(b'"seed":0', b'"seed":7'), (b'"status":"done"', b'"status":"diverged"')], ids=str)
def test_an_edited_result_is_refused(file: Path, edit: tuple[bytes, bytes]) -> None:
    """A key names its content, and a status goes with its loss."""
    file.write_bytes(file.read_bytes().replace(*edit))
    with pytest.raises(
        CalibrationError, match=r"line 1 is no result of a probe .*: delete that line, or choose another"
    ):
        read(file)


@pytest.mark.parametrize("line", [b'{"key": 3}', b"17", b"[]", b'{"schema": "adamw-scale/probe/0"}'], ids=repr)
def test_whole_lines_that_are_no_results_are_named(file: Path, line: bytes) -> None:
    """A line that somebody wrote is not silently dropped."""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + line + b"\n" + lines[2])
    with pytest.raises(CalibrationError, match="line 2 is no result"):
        read(file)


def test_a_newer_version_says_to_upgrade(file: Path) -> None:
    """A store that a later version wrote is not taken apart by this one."""
    file.write_bytes(file.read_bytes() + b'{"schema":"adamw-scale/probe/2","key":"x","more":1}\n')
    with pytest.raises(CalibrationError, match=r"line 4 was written by a newer version .* upgrade"):
        read(file)


def test_the_first_result_of_a_key_counts(file: Path) -> None:
    """Neither a second append nor a second line changes what was measured."""
    other = result(0).model_copy(update={"loss": 9.0})
    before = file.read_bytes()
    with ProbeStore(file) as store:
        store.append(other)
    assert file.read_bytes() == before
    file.write_bytes(before + other.model_dump_json(by_alias=True).encode() + b"\n")
    assert read(file).results[other.key].loss == 2.3


def test_a_failed_result_gives_way(tmp_path: Path) -> None:
    """Failed probes count until they are asked for again, and then whatever comes next does."""
    path = tmp_path / "probes.jsonl"
    with ProbeStore(path) as store:
        store.append(result(0, status="failed"), result(1))
    assert read(path).results[result(0).key].status == "failed"
    with ProbeStore(path, retry_failed=True) as store:
        assert list(store.results) == [result(1).key]
        store.append(result(0, status="failed"))
        assert store.results[result(0).key].status == "failed"  # or a stage would never end
        store.append(result(0))
        assert store.results[result(0).key].status == "done"
    assert read(path).results[result(0).key] == result(0)


def test_two_open_stores_see_each_other(file: Path) -> None:
    """What another process appended is known after the next append, and stored once."""
    with ProbeStore(file) as one, ProbeStore(file) as other:
        one.append(result(3))
        other.append(result(4))
        assert result(3).key in other.results
        one.append(result(4))
        assert result(4).key in one.results
    assert len(read(file).results) == 5


def test_a_read_only_store_creates_nothing(tmp_path: Path) -> None:
    """Looking leaves no trace."""
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "probes.jsonl")
    assert list(tmp_path.iterdir()) == []


def in_other_processes(mode: str, path: Path) -> set[str]:
    """Keys that append() returned for, in processes that wrote as `mode` says."""
    report = subprocess.run(
        [sys.executable, str(WRITERS), mode, str(path)], capture_output=True, text=True, check=True, timeout=240
    )
    return set(json.loads(report.stdout))


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Eight processes append fifty batches each: every result is there, on a line of its own."""
    path = tmp_path / "probes.jsonl"
    promised = in_other_processes("concurrent", path)
    store = read(path)
    assert set(store.results) == promised
    assert store.notices == []
    assert len(path.read_bytes().splitlines()) == len(promised) == 1200


@pytest.mark.slow
def test_a_killed_writer_breaks_no_promise(tmp_path: Path) -> None:
    """Fifty writers die of SIGKILL at random moments: what append() returned for is there, the store is readable."""
    path = tmp_path / "probes.jsonl"
    promised = in_other_processes("killed", path)
    assert len(promised) > 50
    assert promised <= set(read(path).results)


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: a write takes what fits, and the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    action = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, action)


def test_a_full_disk_leaves_a_readable_store(file: Path) -> None:
    """A batch that was written in part costs the torn probe only, and the store goes on when there is space again."""
    before = file.stat().st_size
    line = len(result(3).model_dump_json(by_alias=True)) + 1
    with ProbeStore(file) as store:
        with files_at_most(before + line + line // 2), pytest.raises(OSError, match="large"):
            store.append(result(3), result(4))
        assert file.stat().st_size == before + line + line // 2
        assert result(4).key not in store.results
        store.append(result(5))
        assert {result(3).key, result(5).key} <= set(store.results)
        store.append(result(4))
    assert len(read(file).results) == 6
    assert read(file).notices == [f"{file}: line 5 is torn or no JSON; skipped, as if never trained"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_no_space_is_an_os_error(tmp_path: Path) -> None:
    """The system's own error reaches the caller, which knows the folder."""
    with ProbeStore(tmp_path / "probes.jsonl") as store:
        assert store._file is not None
        full = os.open("/dev/full", os.O_RDWR | os.O_APPEND)
        os.dup2(full, store._file.fileno())
        os.close(full)
        store.path = Path("/dev/full")
        with pytest.raises(OSError, match="space") as caught:
            store.append(result(0))
    assert caught.value.errno == errno.ENOSPC


def test_a_file_in_the_place_of_the_folder_is_an_os_error(tmp_path: Path) -> None:
    """Neither store nor lock can be where no folder is."""
    (tmp_path / "out").touch()
    with pytest.raises(OSError, match=r"[Nn]ot a directory|No such"), ProbeStore(tmp_path / "out" / "probes.jsonl"):
        pass
    with pytest.raises(OSError, match=r"[Nn]ot a directory|No such|exists"), folder_lock(tmp_path / "out"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_os_error(file: Path) -> None:
    """Nothing can be written, but what is there can be read."""
    file.chmod(0o444)
    file.parent.chmod(0o555)
    try:
        with pytest.raises(PermissionError), ProbeStore(file):
            pass
        with pytest.raises(PermissionError), folder_lock(file.parent):
            pass
        assert len(read(file).results) == 3
    finally:
        file.parent.chmod(0o755)


@contextmanager
def held(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    """Another process that calibrates in the folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_a_folder_has_one_calibration(tmp_path: Path) -> None:
    """A second one is refused, and told who has the folder, since when, and what to do."""
    with held(tmp_path) as holder:
        since = r"\d\d:\d\d"
        with (
            pytest.raises(
                CalibrationError, match=rf"process {holder.pid} on .+ since {since}: wait for it with --wait"
            ),
            folder_lock(tmp_path),
        ):
            pass


def test_a_holder_that_died_holds_nothing(tmp_path: Path) -> None:
    """SIGKILL leaves the files, but the lock goes with the process; who holds a folder is told while it is held."""
    with held(tmp_path) as holder:
        holder.kill()
        holder.wait()
        assert (tmp_path / HOLDER_FILE).exists()
        with folder_lock(tmp_path):
            content = json.loads((tmp_path / HOLDER_FILE).read_bytes())
            assert content["pid"] == os.getpid()
            assert set(content) == {"host", "pid", "started"}
    assert {path.name for path in tmp_path.iterdir()} <= {LOCK_FILE}


def test_waiting_lasts_until_the_folder_is_free(tmp_path: Path) -> None:
    """--wait says once whom it waits for, and goes on when that process is gone."""
    notices: list[str] = []
    with held(tmp_path) as holder:

        def told(notice: str) -> None:
            notices.append(notice)
            holder.kill()

        with folder_lock(tmp_path, wait=True, notice=told):
            assert holder.wait() == -signal.SIGKILL
    assert len(notices) == 1
    assert f"process {holder.pid}" in notices[0]


def test_of_many_who_wait_one_has_the_folder_at_a_time(tmp_path: Path) -> None:
    """Four processes that wait for each other, three times each, are never in the folder together."""
    code = (
        "import os, sys, time; from pathlib import Path; from adamw_scale.probe.store import folder_lock\n"
        "folder = Path(sys.argv[1])\n"
        "for _ in range(3):\n"
        "    with folder_lock(folder, wait=True):\n"
        "        os.close(os.open(folder / 'alone', os.O_CREAT | os.O_EXCL))\n"
        "        time.sleep(0.01); (folder / 'alone').unlink()"
    )
    waiting = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in waiting] == [0] * 4
    assert {path.name for path in tmp_path.iterdir()} <= {LOCK_FILE}


@pytest.mark.parametrize(
    "content", [b"", b"not JSON", b"[1]", b'{"pid": "x"}', b'{"pid":1,"host":"h","started":"soon"}']
)
def test_a_holder_without_a_readable_name_still_holds(tmp_path: Path, content: bytes) -> None:
    """Between locking and writing its name a holder is unknown, but it holds."""
    with held(tmp_path):
        (tmp_path / HOLDER_FILE).write_bytes(content)
        with pytest.raises(CalibrationError, match="calibrated by another process"), folder_lock(tmp_path):
            pass


def test_a_folder_that_goes_away_holds_nobody_up(tmp_path: Path) -> None:
    """Who removes the folder of a running calibration gets that calibration's own error, not the lock's."""
    folder = tmp_path / "out"
    folder.mkdir()
    with folder_lock(folder):
        shutil.rmtree(folder)
    assert not folder.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_file_systems_without_locks_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Some network file systems refuse to lock; one process at a time may use them."""

    def refuse(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with folder_lock(tmp_path), ProbeStore(tmp_path / "probes.jsonl") as store:
        store.append(result(0))
    assert len(read(tmp_path / "probes.jsonl").results) == 1
