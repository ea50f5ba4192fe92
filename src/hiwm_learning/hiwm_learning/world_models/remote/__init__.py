"""World models behind a websocket server: the family `remote`, and a server for any model.

`protocol.py` defines the messages, `docs/world_servers.md` explains them. `server.py` needs only
numpy, msgpack, websockets and `hiwm_core`, so that it runs in a model's own environment.
"""
