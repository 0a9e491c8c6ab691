"""What programs take of the processor: on a machine shared with others it says more than the time that they take."""

import psutil


class Cores:
    """Seconds of processor time that programs and all that they started have taken since."""

    def __init__(self, **programs: int) -> None:
        self._programs = programs
        self._before = self._now()

    def taken_s(self) -> dict[str, float]:
        """By program."""
        return {name: after - self._before[name] for name, after in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {name: sum(map(cpu_s, _family(pid))) for name, pid in self._programs.items()}


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_s(process: psutil.Process) -> float:
    """Seconds of processor time that one process has taken."""
    times = process.cpu_times()
    return times.user + times.system
