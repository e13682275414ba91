"""A tracker that is told of probes and holds up none: it works in a thread of its own."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Self

from adamw_scale.errors import AdamWScaleError, CalibrationError
from adamw_scale.probe.trackers.tracker import Tracker
from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.units import printable

PATIENCE = 60.0  # seconds for a tracker to open, or to write one probe when nothing else is left to do


class BackgroundTracker:
    """Passes results on to a tracker; of one that fails or hangs there is one notice, then silence.

    Whatever is wrong when it opens is refused, since then no probe has run and the user can mend it.
    From then on nothing raises and nothing waits: results queue up while the tracker writes. Only at
    the end they are waited for, as long as it goes on.

    Args:
        tracker: Does the writing; everything of it runs in one thread.
        option: What the user asked for it with, for messages.
        notice: Told where the runs are found, and of a failure; called in the caller's thread.
        patience: Seconds without a sign of life after which it is given up.

    Raises:
        AdamWScaleError: on entering, where the tracker cannot be opened.
    """

    def __init__(
        self, tracker: Tracker, option: str, notice: Callable[[str], None], patience: float = PATIENCE
    ) -> None:
        self.tracker = tracker
        self.option = option
        self.notice = notice
        self.patience = patience
        self._todo: SimpleQueue[ProbeResult | None] = SimpleQueue()
        self._signs: SimpleQueue[BaseException | None] = SimpleQueue()  # one for opening, each result, and closing
        self._awaited = 0
        self._given_up = False

    def __enter__(self) -> Self:
        Thread(target=self._work, daemon=True).start()
        try:
            error = self._signs.get(timeout=self.patience)
        except Empty:
            error = TimeoutError(f"no answer within {self.patience:g} seconds")
        if isinstance(error, AdamWScaleError):
            raise error
        if error is not None:
            raise CalibrationError(f"{self.option} does not work: {_reason(error)}. Mend that, or leave it out")
        self.notice(f"{self.option}: {self.tracker.place}")
        return self

    def __exit__(self, *_: object) -> None:
        self._todo.put(None)
        self._awaited += 1
        while self._awaited and not self._given_up:
            try:
                self._heed(self._signs.get(timeout=self.patience))
            except Empty:
                self._give_up(f"no answer within {self.patience:g} seconds")

    def result(self, result: ProbeResult) -> None:
        """Have a result written, some time soon."""
        if self._given_up:
            return
        self._todo.put(result)
        self._awaited += 1
        while not self._signs.empty():
            self._heed(self._signs.get())

    def _heed(self, sign: BaseException | None) -> None:
        self._awaited -= 1
        if sign is not None:
            self._give_up(_reason(sign))

    def _give_up(self, reason: str) -> None:
        if not self._given_up:
            self.notice(
                f"{self.option} stopped: {reason}. The calibration has every probe, only the tracker lacks some"
            )
        self._given_up = True

    def _work(self) -> None:
        """The tracker's life, in its thread."""
        try:
            with self.tracker:
                self._signs.put(None)
                while (result := self._todo.get()) is not None:
                    self.tracker.result(result)
                    self._signs.put(None)
        except BaseException as error:  # also what a library means to end the process with
            self._signs.put(error)
        else:
            self._signs.put(None)


def _reason(error: BaseException) -> str:
    return printable(str(error)).rstrip(".")[:300] or type(error).__name__
