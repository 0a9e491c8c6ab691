"""The answers that `lms-agent init` needs: from its options, and what those do not say from whoever sits there."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lms_protocol.errors import LmsError, TopicError
from lms_protocol.instruments.catalogue import Catalogue
from lms_protocol.topics import check_id

from lms_agent.cli.init.instruments import ask_instruments, from_option
from lms_agent.cli.init.questions import Questions
from lms_agent.starting.answers import Answers
from lms_agent.starting.drafting import Draft, DraftError
from lms_agent.starting.naming import id_of

LOG = Path("/var/lib/lms-agent/log.sqlite3")
Answer = TypeVar("Answer")


class Missing(LmsError):
    """Something that is needed was not said, and nobody is there to be asked."""


@dataclass(frozen=True)
class Given:
    """What the options say; see `lms-agent init --help`."""

    group: str | None
    agent: str | None
    broker: str | None
    account: str | None
    password_file: Path | None
    ca_file: Path | None
    log: Path | None
    bioreactors: list[str]
    instruments: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether nothing that is needed has to be asked."""
        return bool(self.group and self.broker and self.password_file and self.bioreactors and self.instruments)


def answers_of(given: Given, path: Path, questions: Questions | None) -> tuple[Answers, str | None]:
    """All answers, and the password, if its file is to be made.

    Args:
        path: of the file to be written.
        questions: None: nobody is there.

    Raises:
        LmsError: something is missing, or does not fit.
    """
    if questions is not None:
        questions.tell(
            f"This writes {path}. Enter takes what stands in brackets; Ctrl-C ends it, and nothing is written."
        )
    answers, password = _about_the_agent(given, None if given.is_whole else questions)
    draft = Draft()
    _bioreactors(given, draft, questions)
    _instruments(given, draft, questions)
    return draft.answers(answers), password


def _about_the_agent(given: Given, questions: Questions | None) -> tuple[Answers, str | None]:
    if given.group and given.agent and given.broker and given.account and given.password_file:
        questions = None
    if questions is not None:
        questions.heading("1 of 3  Where readings go", "Whoever runs the cloud knows these.")
    host = id_of(socket.gethostname(), "agent-1")
    group = _said(given.group, "--group", questions, lambda ask: ask.text("Organization's wire id", check=bad_id))
    agent = given.agent or (
        host if questions is None else questions.text("This agent's name", default=host, check=bad_id)
    )
    url = _said(given.broker, "--broker", questions, _ask_url)
    account = given.account or (agent if questions is None else questions.text("Account at the broker", default=agent))
    password = None
    file = given.password_file
    if file is None:
        password = _said(None, "--password-file", questions, lambda ask: ask.secret("Its password (not shown)"))
        file = Path(f"{id_of(account, 'broker')}.secret")
    answers = Answers(
        group=group,
        agent=agent,
        log=(given.log or LOG).absolute(),
        url=url,
        account=account,
        password_file=file if password is not None else file.absolute(),
        ca_file=_ca_file(given, url, questions),
        bioreactors=(),
        buses=(),
        instruments=(),
    )
    return answers, password


def _said(said: str | None, option: str, questions: Questions | None, ask: Callable[[Questions], str]) -> str:
    if said:
        return said
    if questions is None:
        raise Missing(
            f"{option} is missing, and nobody is there to be asked; `lms-agent init --help` lists what there is"
        )
    return ask(questions)


def _ask_url(questions: Questions) -> str:
    def check(url: str) -> str:
        good = url.startswith(("mqtt://", "mqtts://")) and "@" not in url
        return "" if good else "mqtts://host:port, or mqtt://host:port without encryption, please; no account in it"

    url = questions.text(
        "Broker", default="mqtts://", check=lambda answer: "" if answer != "mqtts://" else "its host, please"
    )
    while check(url) and not url.startswith("mqtt"):
        url = f"mqtts://{url}" if "://" not in url else questions.text("Broker", check=check)
    return url


def _ca_file(given: Given, url: str, questions: Questions | None) -> Path | None:
    if given.ca_file is not None:
        return given.ca_file.absolute()
    if questions is None or not url.startswith("mqtts"):
        return None

    def check(answer: str) -> str:
        return "" if Path(answer).is_file() else f"there is no file {answer}"

    named = questions.text(
        "Its authority's certificate, if the system does not know it (a file)", needed=False, check=check
    )
    return Path(named).absolute() if named else None


def bad_id(text: str) -> str:
    """What is wrong with an id; "" if nothing is."""
    try:
        check_id(text)
    except TopicError as error:
        return f"1 to 128 printable characters without + / #, please: {error.reason}"
    return ""


def _bioreactors(given: Given, draft: Draft, questions: Questions | None) -> None:
    for text in given.bioreactors:
        id_, _, name = text.partition("=")
        draft.add_bioreactor(id_, name)
    if given.bioreactors:
        return
    if questions is None:
        raise Missing("--bioreactor is missing, and nobody is there to be asked")
    questions.heading("2 of 3  Bioreactors", "A short id that stays, and a name for people.")
    while True:
        number = len(draft.bioreactors) + 1
        id_ = questions.text("Id", default=f"R{number}", check=bad_id)
        name = questions.text("Name, if it has another", needed=False)
        try:
            draft.add_bioreactor(id_, name)
        except DraftError as error:
            questions.complain(str(error))
        if not questions.yes("Another bioreactor?", default=False):
            return


def _instruments(given: Given, draft: Draft, questions: Questions | None) -> None:
    catalogue = Catalogue()
    for text in given.instruments:
        from_option(text, draft, catalogue)
    if given.instruments:
        return
    if questions is None:
        raise Missing("--instrument is missing, and nobody is there to be asked")
    questions.heading("3 of 3  Instruments")
    ask_instruments(questions, draft, catalogue)
