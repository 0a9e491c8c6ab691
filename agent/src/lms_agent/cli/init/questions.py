"""Questions on a terminal: asked again until the answer can be used. Ctrl-C ends them all."""

from collections.abc import Callable, Sequence

import typer

from lms_agent.cli.screen.prose import say
from lms_agent.cli.screen.tables import cut
from lms_agent.cli.screen.terminal import coloured, faint, width

Check = Callable[[str], str]
"""What is wrong with an answer, as a sentence; "" if nothing is."""


class Questions:
    """Asks whoever sits at the terminal."""

    def heading(self, text: str, more: str = "") -> None:
        """What the next questions are about."""
        typer.echo("")
        typer.echo(coloured(text, "cyan", bold=True))
        if more:
            say(more)

    def tell(self, text: str) -> None:
        """Something to know."""
        say(text, indent=2)

    def complain(self, text: str) -> None:
        """Something that is not so."""
        say(coloured(text, "yellow"), indent=2)

    def text(self, question: str, *, default: str = "", check: Check = lambda _: "", needed: bool = True) -> str:
        """A line of text; `default` for none."""
        while True:
            answer = str(
                typer.prompt(f"  {question}", default=default, show_default=bool(default), prompt_suffix=": ")
            ).strip()
            if not answer and not needed:
                return ""
            problem = check(answer) if answer else "an answer is needed here"
            if not problem:
                return answer
            self.complain(problem)

    def secret(self, question: str) -> str:
        """A line that is not shown."""
        while True:
            answer = str(typer.prompt(f"  {question}", hide_input=True, default="", show_default=False)).strip()
            if answer:
                return answer
            self.complain("an answer is needed here")

    def yes(self, question: str, *, default: bool) -> bool:
        """Yes or no."""
        return bool(typer.confirm(f"  {question}", default=default))

    def choice(self, question: str, rows: Sequence[tuple[str, str]], *, default: str = "", free: bool = False) -> str:
        """One of several, by its number or its name.

        Args:
            rows: name and what it is.
            free: whether something else may be typed, too.
        """
        widest = max((len(name) for name, _ in rows), default=0)
        for number, (name, what) in enumerate(rows, 1):
            start = f"  {number:>3}  {name:<{widest}}"
            typer.echo(f"{start}  {faint(cut(what, width() - len(start) - 2))}".rstrip())
        names = [name for name, _ in rows]

        def check(answer: str) -> str:
            if free or answer in names or (answer.isdigit() and 1 <= int(answer) <= len(names)):
                return ""
            return f"a number from 1 to {len(names)}, please, or one of the names"

        answer = self.text(question, default=default, check=check)
        return names[int(answer) - 1] if answer.isdigit() and 1 <= int(answer) <= len(names) else answer
