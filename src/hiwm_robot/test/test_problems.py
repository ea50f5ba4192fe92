"""What the bridge logs and reports while something is wrong."""

from hiwm_robot.problems import Problems


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, text: str) -> None:
        self.lines.append(f"error {text}")

    def info(self, text: str) -> None:
        self.lines.append(f"info {text}")


def test_a_problem_is_logged_once_and_reported_until_it_is_solved() -> None:
    log = Log()
    reports: list[str] = []
    problems = Problems(log, reports.append)
    problems.note("camera top", "")
    problems.note("camera top", "no image")
    problems.note("camera top", "no image")
    problems.note("pose", "no pose")
    problems.note("camera top", "")
    assert log.lines == ["error no image", "error no pose", "info camera top: ok again"]
    assert reports == ["no image", "no image; no pose", "no pose"]
