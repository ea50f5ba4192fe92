"""Several people look, one drives: who sits where, and how the seat changes hands."""

from dataclasses import dataclass, field


@dataclass
class Seats:
    """The people connected, by number; every change returns a line for all of them, or nothing."""

    people: dict[int, str] = field(default_factory=dict)
    driver: int | None = None
    asking: int | None = None

    def join(self, person: int, name: str) -> None:
        """A person comes to look."""
        self.people[person] = name or f"viewer {person}"

    def leave(self, person: int) -> str:
        """A person goes; whoever asked gets a seat left empty."""
        name = self.people.pop(person, "")
        if self.asking == person:
            self.asking = None
        if self.driver != person:
            return ""
        self.driver = None
        return f"{name} left. {self._next()}".strip()

    def ask(self, person: int, *, holding: bool) -> str:
        """A person wants to drive.

        `holding`: the driver has control of the robot just now; then the driver decides.
        """
        if person not in self.people or self.driver == person:
            return ""
        if self.driver is not None and holding:
            self.asking = person
            return f"{self.people[person]} asks {self.people[self.driver]} for the controls"
        self.driver = person
        self.asking = None if self.asking == person else self.asking
        return f"{self.people[person]} has the controls"

    def give(self, person: int) -> str:
        """The driver hands the seat to whoever asked."""
        if self.driver != person or self.asking is None:
            return ""
        self.driver = None
        return self._next()

    def keep(self, person: int) -> str:
        """The driver goes on driving."""
        if self.driver != person or self.asking is None:
            return ""
        name, self.asking = self.people[self.asking], None
        return f"{self.people[person]} keeps the controls, {name} may ask again"

    def stand_up(self, person: int) -> str:
        """The driver leaves the seat and goes on looking."""
        if self.driver != person:
            return ""
        self.driver = None
        return f"{self.people[person]} has left the controls. {self._next()}".strip()

    def _next(self) -> str:
        if self.asking is None:
            return ""
        self.driver, self.asking = self.asking, None
        return f"{self.people[self.driver]} has the controls"
