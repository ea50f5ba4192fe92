"""A window with the newest picture, if there is a display."""

import os

from PIL import Image


def display_there() -> bool:
    """Return whether this machine has a display."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class LiveWindow:
    """One window, resized to its picture; closing it does not stop the node.

    Raises:
        RuntimeError: the display cannot be opened.
    """

    def __init__(self, title: str) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        # Imported here: graphs without a display do not need it.
        import pygame

        self._pygame = pygame
        self._screen: pygame.Surface | None = None
        try:
            pygame.display.init()
            pygame.display.set_caption(title)
        except pygame.error as error:
            raise RuntimeError(str(error)) from None
        self.open = True

    def show(self, picture: Image.Image) -> None:
        """Show a picture and handle window events."""
        pygame = self._pygame
        if not self.open:
            return
        if self._screen is None or self._screen.get_size() != picture.size:
            self._screen = pygame.display.set_mode(picture.size)
        surface = pygame.image.frombuffer(picture.tobytes(), picture.size, "RGB")
        self._screen.blit(surface, (0, 0))
        pygame.display.flip()
        self.tend()

    def tend(self) -> None:
        """Handle window events; call it regularly."""
        if self.open and any(
            event.type == self._pygame.QUIT for event in self._pygame.event.get()
        ):
            self.close()

    def close(self) -> None:
        """Close the window."""
        if self.open:
            self.open = False
            self._pygame.display.quit()
