"""Calls a service of a running session from the command line, with or without the ros2 CLI.

    scripts/call branches/rollback steps:=15
    scripts/call --list

The graph gives the service's type. Request fields are `key:=value` with YAML values, as for the
launcher. Names are relative to the namespace (`--ns`, default hiwm) unless they start with `/`.
Tested by test_call.py.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
import yaml
from rclpy.node import Node

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError, DeviceError, HiwmError
from hiwm_nodes.log_folder import provide_log_folder

# Discovery takes well under a second on one machine; a busy one may need more.
FIND_S = 10.0
_LONGEST = 20  # longest list printed in full


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/call", description=__doc__.split("\n")[0],
        epilog="example: scripts/call branches/rollback steps:=15",
    )
    parser.add_argument("service", nargs="?", help="service name, such as branches/rollback")
    parser.add_argument("fields", nargs="*", metavar="KEY:=VALUE", help="request fields, in YAML")
    parser.add_argument("--list", action="store_true", help="list the available services")
    parser.add_argument("--ns", default="hiwm", help="namespace of the session")
    parser.add_argument("--timeout", type=float, default=120.0, help="wait for the response, s")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Call a service and print its response as YAML; return 1 if it refuses or does not exist."""
    options = build_parser().parse_args(arguments)
    if not options.list and not options.service:
        build_parser().error("name a service, or give --list")
    provide_log_folder()
    rclpy.init(args=[])
    node = rclpy.create_node("call", start_parameter_services=False)
    try:
        if options.list:
            _wait(node, lambda: bool(_services(node, options.ns)))
            for name, kind in sorted(_services(node, options.ns).items()):
                print(f"{name}  {kind}")
            return 0
        name = options.service
        if not name.startswith("/"):
            name = f"/{options.ns.strip('/')}/{name}".replace("//", "/")
        answer = _answer(node, name, options)
        data = plain(answer)
        print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")
        return 0 if data.get("ok", data.get("success", True)) else 1
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def request_of(kind: type[Any], texts: Sequence[str], where: str) -> Any:
    """Return a service request with fields from `key:=value` texts.

    Args:
        kind: the service's class.
        texts: values in YAML.
        where: the service, for error messages.

    Raises:
        ConfigError: unknown key, or value of the wrong type.
    """
    request = kind.Request(check_fields=True)
    types = request.get_fields_and_field_types()
    for text in texts:
        key, given, value = text.partition(":=")
        if not given:
            raise ConfigError(
                f"{text!r} is not a request field", where=where, remedy="write key:=value"
            )
        if key not in types:
            raise ConfigError(
                f"no field {key!r}{nearest(key, types)}", where=where,
                remedy=f"use {', '.join(types) or 'no fields'}",
            )
        try:
            parsed = yaml.safe_load(value)
            if types[key] in ("float", "double") and type(parsed) is int:
                parsed = float(parsed)
            if types[key].startswith("string") and not isinstance(parsed, list):
                parsed = value.strip("'\"") if parsed is not None else ""
            setattr(request, key, parsed)
        except (AssertionError, yaml.YAMLError, TypeError, ValueError):
            raise ConfigError(
                f"{key} is a {types[key]}, not {value!r}", where=where,
                remedy=f"give a {types[key]}, in YAML",
            ) from None
    return request


def plain(message: Any) -> Any:
    """Return a message as YAML values; a long list becomes its length."""
    if hasattr(message, "get_fields_and_field_types"):
        names = message.get_fields_and_field_types()
        return {name: plain(getattr(message, name)) for name in names}
    if isinstance(message, bytes | str | bool | int | float) or message is None:
        return message
    values = list(message)
    if len(values) > _LONGEST:
        return f"{len(values)} values"
    return [plain(value.item() if hasattr(value, "item") else value) for value in values]


def _services(node: Node, namespace: str) -> dict[str, str]:
    """Return the services of a session, without the parameter services of every node."""
    prefix = f"/{namespace.strip('/')}/"
    return {
        name: kinds[0] for name, kinds in node.get_service_names_and_types()
        if name.startswith(prefix) and not kinds[0].startswith(("rcl_interfaces/", "type_desc"))
    }


def _wait(node: Node, condition: Callable[[], bool], seconds: float = FIND_S) -> bool:
    end = time.monotonic() + seconds  # the node's clock may be set back
    while not condition():
        if time.monotonic() > end:
            return False
        rclpy.spin_once(node, timeout_sec=0.05)
    return True


def _answer(node: Node, name: str, options: argparse.Namespace) -> Any:
    def kinds() -> list[str]:
        return dict(node.get_service_names_and_types()).get(name, [])

    if not _wait(node, lambda: bool(kinds())):
        known = dict(node.get_service_names_and_types())
        raise DeviceError(
            f"no service {name}{nearest(name, known)}", where="this machine's graph",
            remedy="start a session first; --list names the services, --ns another namespace",
        )
    package, _, kind_name = kinds()[0].split("/")
    kind = getattr(importlib.import_module(f"{package}.srv"), kind_name)
    request = request_of(kind, options.fields, name)
    client = node.create_client(kind, name)
    if not client.wait_for_service(FIND_S):
        raise DeviceError(f"{name} does not respond", where="this machine's graph",
                          remedy="check the session's log for the node that offers it")
    future = client.call_async(request)
    rclpy.spin_until_future_complete(node, future, timeout_sec=options.timeout)
    if not future.done():
        raise DeviceError(
            f"no response within {options.timeout:g} s", where=name,
            remedy="check the session's log, or raise --timeout",
        )
    return future.result()


if __name__ == "__main__":
    sys.exit(main())
