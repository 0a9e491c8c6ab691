"""A serial port, read by the event loop through its file descriptor.

Opened for this process alone, because two masters on one line answer each other's questions. Ports are best named by
`/dev/serial/by-id/…`, which stays the same when an adapter is plugged in again. A port that was named otherwise is
known by its adapter once it has been open: that adapter is found again under whatever name it comes back, and another
one that has got the old name meanwhile is left alone.

A character whose parity or stop bit is wrong arrives as a zero byte, which no line of text holds, and no check sum
lets pass: pyserial would hand over what is left of it, and a damaged digit would pass for another.
"""

import asyncio
import contextlib
import errno
import grp
import os
import termios
from pathlib import Path

import serial

from lms_agent.accounts import account_name
from lms_agent.buses import adapters
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.clock import Clock
from lms_agent.errors import PortBusy, PortDenied, PortError, PortLost, PortMissing

_READ_SIZE = 4096
_PARITIES = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


class SerialLine(ByteStream):
    """One serial port.

    Args:
        port: the device file.
        baud, data_bits, parity, stop_bits: as the instruments are set; parity is "none", "even" or "odd".
        clock: says when bytes arrived.
    """

    def __init__(self, port: str, *, baud: int, data_bits: int, parity: str, stop_bits: int, clock: Clock) -> None:
        super().__init__(port, clock)
        self.baud = baud
        self.character_s = (1 + data_bits + (parity != "none") + stop_bits) / baud
        self._parity = _PARITIES[parity]
        self._data_bits = data_bits
        self._stop_bits = stop_bits
        self._serial: serial.Serial | None = None
        self._fd = -1
        self._adapter: Path | None = None  # its lasting name, once it is known

    async def open(self) -> None:
        """Open the port for this process alone.

        Raises:
            PortError: it is missing, busy, denied, or no serial port.
        """
        path = self.port if self._adapter is None else str(self._adapter)
        try:
            port = serial.Serial(
                path,
                self.baud,
                bytesize=self._data_bits,
                parity=self._parity,
                stopbits=self._stop_bits,
                timeout=0,
                exclusive=True,
            )
            _refuse_damaged_characters(port)
        except termios.error as error:  # pyserial lets it pass when the port does not take the setting
            setting = f"{self.baud} baud {self._data_bits}{self._parity}{self._stop_bits}"
            detail = f"{self.port} does not take {setting} ({error.args[-1]}); try another baud rate or parity"
            raise PortError(self.port, detail) from error
        except (serial.SerialException, OSError, ValueError) as error:
            raise self._why_not(path, error) from error
        self._serial, self._fd = port, port.fileno()
        self._adapter = self._adapter or adapters.id_of(self.port)
        self._opened()
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _why_not(self, path: str, error: Exception) -> PortError:
        found = _why_not(path, error)
        if isinstance(found, PortMissing) and self._adapter is not None:
            detail = f"the adapter {self._adapter.name}, which had this port, is gone; plug it in again, anywhere"
            return PortMissing(self.port, f"{detail}. {_present_ports()}")
        return found

    def write(self, data: bytes) -> None:
        """Send bytes; a request is far shorter than the port's buffer.

        Raises:
            PortLost: the port is gone, or takes no bytes.
        """
        try:
            sent = os.write(self._fd, data) if self.is_open else -1
        except OSError as error:
            self._lose(_said(error))
            raise PortLost(self.port, _said(error)) from error
        if sent != len(data):
            reason = "it is not open" if sent < 0 else "it takes no more bytes"
            self._lose(reason)
            raise PortLost(self.port, reason)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(_said(error))
            return
        if data:
            self._feed(data)
        else:
            self._lose("the line hung up")

    def _release(self) -> None:
        if self._serial is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            with contextlib.suppress(OSError, serial.SerialException):
                self._serial.close()
            self._serial = None
            self._fd = -1


def _refuse_damaged_characters(port: serial.Serial) -> None:
    """Have the parity and the stop bit of what comes checked (termios(3): INPCK, without IGNPAR and PARMRK)."""
    try:
        flags = termios.tcgetattr(port.fileno())
        flags[0] = (flags[0] | termios.INPCK) & ~(termios.IGNPAR | termios.PARMRK)
        termios.tcsetattr(port.fileno(), termios.TCSANOW, flags)
    except termios.error:
        port.close()
        raise


def _said(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{text} (unplugged?)" if error.errno in (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF) else text


def _why_not(port: str, error: Exception) -> PortError:
    """The reason why a port does not open, with its remedy."""
    number = getattr(error, "errno", None)
    if number is None and isinstance(error.__context__, termios.error):
        number = error.__context__.args[0]
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return PortMissing(port, f"is the adapter plugged in? {_present_ports()}")
    if number in (errno.EACCES, errno.EPERM):
        return PortDenied(port, account_name(), _group_of(port))
    if number in (errno.EBUSY, errno.EAGAIN):
        return PortBusy(port, [str(holder) for holder in adapters.holders(port)])
    if number in (errno.ENOTTY, errno.EINVAL, errno.EISDIR):
        return PortError(port, f"{port} is no serial port; {_present_ports()}")
    return PortError(port, f"{port} cannot be opened: {error}")


def _present_ports() -> str:
    names = [str(path) for path in sorted(adapters.BY_ID.glob("*"))] or [
        str(path) for path in sorted(Path("/dev").glob("tty[UA][SC][BM]*"))
    ]
    return f"present now: {', '.join(names)}" if names else "no serial adapter is present now"


def _group_of(port: str) -> str:
    try:
        return grp.getgrgid(Path(port).stat().st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
