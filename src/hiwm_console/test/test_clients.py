"""What a connection is sent, and in which order."""

from hiwm_console.access import Access
from hiwm_console.clients import Client, Frame


def test_a_page_is_told_of_the_world_before_its_first_frame() -> None:
    client = Client(id=1, access=Access(look=True, drive=True), now=0.0)
    client.show("world", '{"type":"world"}')
    client.show_frame(Frame(camera=0, epoch=1, step=0, data=b"png", t=-1.0, driver=-1))
    assert client.take() == (['{"type":"world"}'], [])
    assert client.wake.is_set()  # the frame follows at once
    texts, frames = client.take()
    assert not texts and frames[0].endswith(b"png")
