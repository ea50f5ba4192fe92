"""Who was in control, as colours: the same in the live view, the contact sheet and the tree.

Chosen to stay apart for colour-blind eyes (Okabe and Ito, 2008) and to sit well on a light page.
"""

from hiwm_core.control import Mode, Source

Colour = tuple[int, int, int]  # rgb, 0..255

GREY: Colour = (140, 140, 140)
BLUE: Colour = (0, 114, 178)
ORANGE: Colour = (230, 120, 0)
PURPLE: Colour = (170, 90, 190)
GREEN: Colour = (0, 150, 110)
RED: Colour = (190, 30, 40)

MODE_COLOURS: dict[Mode, Colour] = {
    Mode.PAUSED: GREY, Mode.POLICY: BLUE, Mode.HUMAN: ORANGE, Mode.HANDBACK: PURPLE,
    Mode.STOPPED: RED,
}
SOURCE_COLOURS: dict[Source, Colour] = {
    Source.NONE: GREY, Source.POLICY: BLUE, Source.HUMAN: ORANGE, Source.DEMONSTRATION: GREEN,
    Source.HANDBACK: PURPLE,
}
SOURCE_NAMES: dict[Source, str] = {
    Source.NONE: "nobody (start, hold)", Source.POLICY: "policy", Source.HUMAN: "operator",
    Source.DEMONSTRATION: "demonstration", Source.HANDBACK: "handback",
}
