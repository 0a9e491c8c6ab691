"""One PID loop, discrete, with its output in percent and no wind-up.

Source: Åström and Hägglund, "Advanced PID Control", ISA 2006: derivative on the measurement, conditional
integration as anti-windup.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PidSettings:
    """Tuning of a loop.

    Attributes:
        gain: percent of output per unit of error.
        integral_s: integral time.
        derivative_s: derivative time.
        low, high: limits of the output in percent.
        dead_band: error, in the measurement's unit, that is left alone.
    """

    gain: float
    integral_s: float
    derivative_s: float = 0.0
    low: float = 0.0
    high: float = 100.0
    dead_band: float = 0.0


@dataclass(slots=True)
class PidLoop:
    """What a loop remembers, and its output in percent."""

    settings: PidSettings
    integral: float = 0.0
    last: float | None = None
    output: float = 0.0

    def step(self, set_point: float, measured: float, dt: float) -> float:
        """The output for this step, in percent.

        Args:
            set_point, measured: in the loop's unit.
            dt: time since the step before, s.
        """
        tuning = self.settings
        error = set_point - measured
        if abs(error) <= tuning.dead_band:
            error = 0.0
        rate = 0.0 if self.last is None else (measured - self.last) / dt
        self.last = measured
        proportional = tuning.gain * (error - tuning.derivative_s * rate)
        integral = self.integral + tuning.gain * error * dt / tuning.integral_s
        wanted = proportional + integral
        if not ((wanted > tuning.high and error > 0.0) or (wanted < tuning.low and error < 0.0)):
            self.integral = min(tuning.high, max(tuning.low, integral))
        self.output = min(tuning.high, max(tuning.low, proportional + self.integral))
        return self.output
