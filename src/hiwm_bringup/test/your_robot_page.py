"""The page "Your robot, step by step": its commands, and its changes of the drafts."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BLOCKS = re.findall(
    r"^```(\w*)\n(.*?)^```$", (ROOT / "docs" / "your_robot.md").read_text(), re.M | re.S
)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
# A block that begins with such a comment changes that file.
CHANGE = re.compile(r"# ([\w/.]+): (replace|add below (\w+)|add at the end)\n(.*)", re.DOTALL)


def change_files(folder: Path) -> None:
    """Change the drafts in a folder as the page says."""
    changes = [match for _, text in BLOCKS if (match := CHANGE.match(text))]
    assert len(changes) == 4
    for match in changes:
        path = folder / match[1]
        path.write_text(changed(path.read_text(), match[2], match[3], match[4]))


def changed(text: str, how: str, key: str | None, lines: str) -> str:
    """Return a draft after one change of the page."""
    if how == "add at the end":
        return text + lines
    if key:
        head = f"{key}:\n"
        assert text.count(head) == 1
        return text.replace(head, head + lines)
    for line in lines.splitlines():
        start = f"{line.partition(':')[0]}:"
        text, count = re.subn(rf"^{re.escape(start)}.*$", line, text, flags=re.MULTILINE)
        assert count == 1, line
    return text
