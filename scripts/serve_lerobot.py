#!/usr/bin/env python3
"""Serve a LeRobot policy (ACT, Diffusion, SmolVLA, pi0, pi0.5, ...) by the openpi protocol.

Copy this one file to the machine with your LeRobot environment and run it there::

    pip install msgpack websockets
    export HIWM_POLICY_API_KEY=A_LONG_WORD
    python serve_lerobot.py PATH_OR_HUB_NAME --host 0.0.0.0 --port 8000 --device cuda

It needs lerobot 0.4 or later and nothing of hiwm. Then start a session here, with the same key::

    export HIWM_POLICY_API_KEY=A_LONG_WORD
    python -m hiwm_bringup.launcher launch/session.launch.xml policy:=openpi host:=THAT_MACHINE

Without ``--host``, only this machine can connect. The traffic is not encrypted: in a network that
others use, leave ``--host`` out, run ``ssh -N -L 8000:127.0.0.1:8000 THAT_MACHINE`` here and start
the session with ``host:=127.0.0.1``.

The metadata describe the observation, so that hiwm needs no layout file if the policy's data set
has the embodiment's own numbers: each camera of the policy is called as one of the embodiment's
(``--camera observation.images.KEY=NAME`` renames it), the state is proprioception, and an action is
an array of absolute targets. Otherwise write a layout (docs/policies.md) and name it with
``policy_layout:=FILE``. No pickle is read or written. A request is stateless: a policy with a
history gets all its steps each time. With HIWM_POLICY_API_KEY in the environment, clients must send
that key.
"""

import argparse
import hmac
import http
import ipaddress
import logging
import os
import threading
import time
import traceback

import msgpack
import numpy as np
import torch
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

STATE = "observation.state"
KINDS = "biufSU"  # of arrays; objects would need a pickle


def pack(value):
    """Return msgpack bytes, with arrays and scalars as openpi-client packs them."""
    def encode(one):
        if isinstance(one, np.ndarray) and one.dtype.kind in KINDS:
            return {b"__ndarray__": True, b"data": one.tobytes(), b"dtype": one.dtype.str,
                    b"shape": one.shape}
        if isinstance(one, np.generic) and one.dtype.kind in KINDS:
            return {b"__npgeneric__": True, b"data": one.item(), b"dtype": one.dtype.str}
        raise TypeError(f"cannot send {type(one).__name__}")

    return msgpack.packb(value, default=encode)


def unpack(data):
    """Return the value of msgpack bytes."""
    def decode(one):
        if b"__ndarray__" not in one and b"__npgeneric__" not in one:
            return one
        dtype = np.dtype(one[b"dtype"])
        if dtype.kind not in KINDS:
            raise ValueError(f"an array of {dtype} is refused")
        if b"__npgeneric__" in one:
            return dtype.type(one[b"data"])
        return np.frombuffer(one[b"data"], dtype).reshape(one[b"shape"])

    return msgpack.unpackb(data, object_hook=decode)


class LeRobotPolicy:
    """A policy with its processors; one thread at a time uses it."""

    def __init__(self, path, device):
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        self.config = PreTrainedConfig.from_pretrained(path)
        self.config.device = device
        self.device = device
        self._policy = get_policy_class(self.config.type).from_pretrained(path, config=self.config)
        self._policy.to(device).eval()
        override = {"device_processor": {"device": device}}
        self._before, self._after = make_pre_post_processors(
            self.config, pretrained_path=path, preprocessor_overrides=override,
            postprocessor_overrides=override,
        )

    @property
    def images(self):
        """Return shape [C, H, W] of each image by its key."""
        return {key: tuple(feature.shape) for key, feature in self.config.image_features.items()}

    @property
    def state_size(self):
        """Return the length of the state; 0 if the policy has none."""
        feature = self.config.robot_state_feature
        return feature.shape[0] if feature else 0

    def chunk(self, batch):
        """Return actions [K, A] for a batch of one observation, in the data set's units."""
        self._policy.reset()  # no queue of earlier requests
        with torch.no_grad():
            actions = self._policy.predict_action_chunk(self._before(batch))
            # Processors are made for single actions.
            rows = [self._after(actions[:, k]) for k in range(actions.shape[1])]
        return torch.stack(rows, 1)[0].float().cpu().numpy()


class Service:
    """Answers observations; `policy` has the interface of `LeRobotPolicy`."""

    def __init__(self, policy, name, cameras):
        self._policy = policy
        self._lock = threading.Lock()
        self._steps = getattr(policy.config, "n_obs_steps", 1)
        unknown = set(cameras) - set(policy.images)
        if unknown:
            raise SystemExit(f"no image {', '.join(unknown)}; there are {', '.join(policy.images)}")
        observation = {
            key: {"send": "camera", "camera": cameras.get(key, key.split(".")[-1]),
                  "height": shape[1], "width": shape[2]}
            for key, shape in policy.images.items()
        }
        if policy.state_size:
            observation[STATE] = {"send": "state"}
        observation |= {"task": {"send": "instruction"}, "seed": {"send": "seed"}}
        # A policy's chunk may be shorter than its horizon: ask it.
        first = self.infer({
            **{key: np.zeros((self._steps, *shape[1:], shape[0]), np.uint8)
               for key, shape in policy.images.items()},
            STATE: np.zeros((self._steps, policy.state_size), np.float32), "task": "",
        })["actions"]
        execute = min(len(first), getattr(policy.config, "n_action_steps", len(first)))
        self.metadata = {
            "policy": name, "type": policy.config.type, "action_dim": first.shape[1],
            "layout": {
                "name": f"lerobot_{policy.config.type}", "horizon": len(first),
                "execute_horizon": execute, "observation_steps": self._steps,
                "observation": observation,
            },
        }

    def infer(self, observation):
        """Return the actions for an observation; a ValueError says what is wrong with it."""
        batch = {"task": [str(observation.get("task", ""))]}
        for key, (channels, height, width) in self._policy.images.items():
            frames = self._rows(observation, key, (height, width, channels), np.uint8)
            batch[key] = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        if self._policy.state_size:
            batch[STATE] = torch.from_numpy(
                self._rows(observation, STATE, (self._policy.state_size,), np.float32)
            )
        for key in [*self._policy.images, *([STATE] if self._policy.state_size else [])]:
            one = batch[key] if self._steps > 1 else batch[key][0]
            batch[key] = one[None].to(self._policy.device)
        with self._lock:
            if observation.get("seed"):
                torch.manual_seed(hash(tuple(observation["seed"])) % 2**63)
            started = time.monotonic()
            actions = self._policy.chunk(batch)
        return {
            "actions": actions.astype(np.float64),
            "server_timing": {"infer_ms": 1000 * (time.monotonic() - started)},
        }

    def _rows(self, observation, key, shape, dtype):
        value = observation.get(key)
        if isinstance(value, np.ndarray) and self._steps == 1 and value.shape == shape:
            value = value[None]
        wanted = (self._steps, *shape)
        if not isinstance(value, np.ndarray) or (value.shape, value.dtype) != (wanted, dtype):
            found = getattr(value, "shape", type(value).__name__)
            raise ValueError(f"{key} is {found}, not {np.dtype(dtype)} {list(wanted)}")
        return np.array(value)


def make_server(service, host, port, api_key=""):
    """Return a server, bound but not yet running."""
    def gate(connection, request):
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        # The library decodes headers by ISO 8859-1, or by ASCII with escapes.
        given = request.headers.get("Authorization", "").encode("latin-1", "surrogateescape")
        if api_key and not hmac.compare_digest(given, f"Api-Key {api_key}".encode()):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "wrong API key\n")
        return None

    def talk(connection):
        try:
            connection.send(pack(service.metadata))
            for message in connection:
                connection.send(pack(service.infer(unpack(message))))
        except ConnectionClosed:
            return
        except Exception as error:  # the protocol: a traceback as text, then close
            logging.error("%s", error)
            connection.send(traceback.format_exc())
            connection.close(1011, "the previous frame is the traceback")

    server = serve(
        talk, host, port, process_request=gate, compression=None, max_size=2**28,
        ping_interval=None,
    )
    address = server.socket.getsockname()[0]
    if not api_key and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        logging.warning(
            "every machine that reaches %s may use this server: set HIWM_POLICY_API_KEY here and "
            "at the client, or bind 127.0.0.1 and use an SSH tunnel", address,
        )
    return server


def main():
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("policy", help="folder of a pretrained policy, or its name on the hub")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 = for other machines too")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--camera", action="append", default=[], metavar="KEY=NAME",
        help="the embodiment's name for an image of the policy",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    service = Service(
        LeRobotPolicy(options.policy, options.device), options.policy,
        dict(each.split("=", 1) for each in options.camera),
    )
    server = make_server(
        service, options.host, options.port, os.environ.get("HIWM_POLICY_API_KEY", "")
    )
    host, port = server.socket.getsockname()[:2]
    print(f"serving {options.policy} on ws://{host}:{port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown()


if __name__ == "__main__":
    main()
