"""Colours of modes and sources, shared by the console, the live view and the contact sheet.

The hues follow Okabe and Ito (2008) and are distinguishable with colour blindness. They are dark
enough for white text on them and for lines on a light page.
"""

from hiwm_core.control import Mode, Source

Colour = tuple[int, int, int]  # rgb, 0..255

GREY: Colour = (110, 110, 110)
BLUE: Colour = (0, 114, 178)
ORANGE: Colour = (180, 92, 0)
PURPLE: Colour = (138, 63, 160)
GREEN: Colour = (0, 120, 90)
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
