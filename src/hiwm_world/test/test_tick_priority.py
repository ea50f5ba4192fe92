"""A tick has priority over other work."""

import threading

from hiwm_world.tick_priority import TickPriority, YieldingSimulator


class Recorder:
    """A simulator that records its batch sizes, and whether two threads ran it at once."""

    cameras = ("top",)

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.busy = threading.Lock()
        self.overlapped = False

    def _take(self, states: list[int]) -> None:
        self.overlapped |= not self.busy.acquire(blocking=False)
        self.batches.append(len(states))
        self.busy.release()

    def observe_many(self, states: list[int]) -> list[int]:
        self._take(states)
        return states

    def step_many(self, states: list[int], actions: list[int]) -> tuple[list[int], list[int]]:
        self._take(states)
        return states, actions

    def read_many(self, states: list[int]) -> list[int]:
        self._take(states)
        return states


def test_all_pictures_are_rendered_in_pieces() -> None:
    simulator = Recorder()
    yielding = YieldingSimulator(simulator, TickPriority())  # type: ignore
    assert yielding.observe_many(list(range(19))) == list(range(19))
    assert simulator.batches == [8, 8, 3]
    assert yielding.step_many([1, 2], [3, 4]) == ([1, 2], [3, 4])  # type: ignore
    assert yielding.read_many([1]) == [1]


def test_no_piece_starts_during_a_tick_and_a_tick_waits_for_one_piece_only() -> None:
    simulator, priority = Recorder(), TickPriority()
    yielding = YieldingSimulator(simulator, priority)  # type: ignore
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            yielding.observe_many(list(range(8)))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(50):
            with priority.tick():
                assert simulator.busy.acquire(blocking=False)
                before = len(simulator.batches)
                threading.Event().wait(0.002)
                assert len(simulator.batches) == before
                simulator.busy.release()
    finally:
        over.set()
        thread.join()
    assert not simulator.overlapped and len(simulator.batches) > 1
