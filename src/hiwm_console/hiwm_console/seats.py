"""Several people look, one drives: who has the driver's seat, and how it is passed on."""

from dataclasses import dataclass, field


@dataclass
class Seats:
    """The people connected, by number; every change returns a line for all of them, or nothing."""

    people: dict[int, str] = field(default_factory=dict)
    driver: int | None = None
    asking: int | None = None

    def join(self, person: int, name: str) -> None:
        """Add a viewer."""
        self.people[person] = name or f"viewer {person}"

    def leave(self, person: int) -> str:
        """Remove a person; if they drove, the person who asked gets the seat."""
        name = self.people.pop(person, "")
        if self.asking == person:
            self.asking = None
        if self.driver != person:
            return ""
        self.driver = None
        return f"{name} left. {self._next()}".strip()

    def ask(self, person: int, *, holding: bool) -> str:
        """Request the seat for a person.

        `holding`: the driver currently controls the robot; then the driver decides.
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
        """Pass the driver's seat to the person who asked."""
        if self.driver != person or self.asking is None:
            return ""
        self.driver = None
        return self._next()

    def keep(self, person: int) -> str:
        """Refuse the pending request: the driver keeps the seat."""
        if self.driver != person or self.asking is None:
            return ""
        name, self.asking = self.people[self.asking], None
        return f"{self.people[person]} keeps the controls, {name} may ask again"

    def stand_up(self, person: int) -> str:
        """Free the seat: the driver becomes a viewer."""
        if self.driver != person:
            return ""
        self.driver = None
        return f"{self.people[person]} has left the controls. {self._next()}".strip()

    def _next(self) -> str:
        if self.asking is None:
            return ""
        self.driver, self.asking = self.asking, None
        return f"{self.people[self.driver]} has the controls"
