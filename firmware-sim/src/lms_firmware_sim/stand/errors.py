"""What can go wrong on the stand, each with what to do about it.

StandError
├── ProgramMissingError     a program that the stand needs is not on this machine
├── ProgramUnusableError    it is there, but does not run here
├── PortBusyError           somebody else listens on the port that we were told to use
├── ServiceFailedError      a program started and ended, or did not become ready
├── FolderInUseError        other processes work in the folder that a service needs
├── UserMissingError        started as root, and there is no user to drop to
├── PackageFetchFailedError Debian's package could not be fetched or unpacked
├── CommandFailedError      one of LMS evo's own commands ended with an error
├── SettingRefusedError     a setting from the environment cannot be used
└── DemoRunningError        a demo is running in this folder already
"""

from collections.abc import Sequence
from pathlib import Path

from lms_protocol.errors import LmsError


class StandError(LmsError):
    """Anything that keeps the stand from running."""


class ProgramMissingError(StandError):
    """A program that the stand needs is not on this machine.

    Attributes:
        program: its name.
        looked_in: where we looked.
        remedy: what to do.
    """

    def __init__(self, program: str, looked_in: Sequence[str], remedy: str) -> None:
        self.program = program
        self.looked_in = tuple(looked_in)
        self.remedy = remedy
        super().__init__(f"{program} was not found (looked in {', '.join(looked_in)}). {remedy}")


class ProgramUnusableError(StandError):
    """A program is there but does not run on this machine.

    Attributes:
        path: the program.
        reason: what happened when we ran it.
        remedy: what to do.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        self.path = path
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{path} does not run on this machine: {reason}. {remedy}")


class PortBusyError(StandError):
    """Somebody else listens on a port that we were told to use.

    Attributes:
        port: the TCP port.
        purpose: what we wanted it for.
        holder: the process that has it, as far as we may see it.
    """

    def __init__(self, port: int, purpose: str, holder: str | None) -> None:
        self.port = port
        self.purpose = purpose
        self.holder = holder
        super().__init__(
            f"Port {port} on 127.0.0.1, wanted for {purpose}, is taken by {holder or 'another program'}. "
            "Stop that program or choose another port."
        )


class ServiceFailedError(StandError):
    """A service ended while starting, or did not become ready in time.

    Attributes:
        service: its name.
        reason: what happened.
        log_path: where its own words are.
        last_words: the end of that log.
    """

    def __init__(self, service: str, reason: str, log_path: Path, last_words: str = "") -> None:
        self.service = service
        self.reason = reason
        self.log_path = log_path
        self.last_words = last_words
        told = f" Its last words:\n{last_words}" if last_words else ""
        super().__init__(f"{service} {reason}. Its log is {log_path}.{told}")


class FolderInUseError(StandError):
    """Other processes still work in the folder that a service needs for itself.

    Attributes:
        folder: the folder.
        pids: those processes.
    """

    def __init__(self, folder: Path, pids: Sequence[int]) -> None:
        self.folder = folder
        self.pids = tuple(pids)
        named = ", ".join(str(pid) for pid in pids)
        super().__init__(f"{folder} is in use by process {named}. Stop it first: kill {named.replace(',', '')}")


class UserMissingError(StandError):
    """We are root, services must not be, and there is no user to drop to."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(
            f"Started as root, and none of the users {', '.join(names)} exists to run PostgreSQL and the broker as. "
            "Start as an ordinary user, or create one: useradd --system nobody"
        )


class PackageFetchFailedError(StandError):
    """Debian's package could not be fetched or unpacked.

    Attributes:
        package: its name.
        command: what we ran.
        output: what it said.
    """

    def __init__(self, package: str, command: str, output: str) -> None:
        self.package = package
        self.command = command
        self.output = output
        super().__init__(
            f"Debian's package {package} could not be fetched: `{command}` said: {output.strip() or 'nothing'}. "
            f"Check the network and /etc/apt/sources.list, or install it yourself: apt-get install {package}"
        )


class CommandFailedError(StandError):
    """One of LMS evo's own commands ended with an error.

    Attributes:
        command: the command line, without secrets.
        code: its exit code.
        output: what it said.
    """

    def __init__(self, command: str, code: int, output: str) -> None:
        self.command = command
        self.code = code
        self.output = output
        super().__init__(f"`{command}` ended with code {code}: {output.strip() or 'it said nothing'}")


class SettingRefusedError(StandError):
    """A setting from the environment cannot be used.

    Attributes:
        name: the variable.
        reason: what is wrong with it and what is allowed.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}: {reason}")


class FolderUnusableError(StandError):
    """We may not read or write where we must.

    Attributes:
        path: the file or folder.
        reason: the system's.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{path}: {reason}. Perhaps another user, such as root, started the demo here before: "
            "start it as that user, or remove .demo and .tools as that user."
        )


class DemoRunningError(StandError):
    """A demo is running in this folder already.

    Attributes:
        pid: its process.
        folder: its folder.
    """

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self.folder = folder
        super().__init__(f"A demo is running in {folder}, process {pid}. Stop it with Ctrl-C or: kill {pid}")
