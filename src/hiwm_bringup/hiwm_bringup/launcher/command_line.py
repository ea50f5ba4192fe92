"""`hiwm_launch FILE name:=value ...`: a small `ros2 launch`."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence

import yaml

from hiwm_core.abandoned_memory import remove_abandoned
from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.user_paths import path_argument

from .arguments import Argument, declared_arguments
from .node_specs import NodeSpec
from .resolving import resolve
from .supervisor import Output, Supervisor
from .vocabulary import read_launch_file


def main(words: Sequence[str] | None = None) -> int:
    """Launch, or show what would be launched, and return the exit code.

    The code is 2 if nothing was started because the file, an argument or the build is wrong;
    otherwise it is that of `Supervisor.run`.
    """
    options = _options(words)
    try:
        if options.show_args:
            root = read_launch_file(options.file)
            print(arguments_text(declared_arguments(root, dict(os.environ))))
            return 0
        specs = resolve(options.file, parse_arguments(options.arguments))
        if options.print:
            print(specs_text(specs))
            return 0
        supervisor = Supervisor(specs, Output())
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _warn_of_same_names(specs)
    if abandoned := remove_abandoned():
        print(
            f"[launch] removed the shared memory of killed processes: {abandoned} files",
            file=sys.stderr,
        )
    return supervisor.run()


def parse_arguments(words: Sequence[str]) -> dict[str, str]:
    """Return name and value of each `name:=value`; a later value of a name wins.

    Raises:
        ConfigError: a word is not of this form.
    """
    values: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator or not name or not value:
            raise ConfigError(
                f"{word!r} is not an argument", where="command line", remedy="write name:=value"
            )
        values[name] = value
    return values


def arguments_text(arguments: Sequence[Argument]) -> str:
    """Return the text of --show-args."""
    if not arguments:
        return "No arguments."
    lines = ["Arguments (give them as name:=value):"]
    for argument in arguments:
        default = "required" if argument.default is None else f"default: {argument.default!r}"
        choices = f"; one of {', '.join(argument.choices)}" if argument.choices else ""
        lines.append(f"\n  {argument.name}  ({default}{choices})")
        if argument.description:
            lines.append(f"      {argument.description}")
    return "\n".join(lines)


def specs_text(specs: Sequence[NodeSpec]) -> str:
    """Return the text of --print: the resolved nodes as YAML."""
    documents = []
    for spec in specs:
        documents.append({
            "node": f"{spec.package}/{spec.executable}",
            "name": spec.name, "namespace": spec.namespace,
            "parameter_files": [str(p) for p in spec.parameters if isinstance(p, os.PathLike)],
            "parameters": spec.merged_parameters(),
            "remaps": [f"{source}:={target}" for source, target in spec.remaps],
            "environment": dict(spec.environment),
            "arguments": list(spec.arguments), "ros_arguments": list(spec.ros_arguments or ()),
            "respawn": spec.respawn, "respawn_delay_s": spec.respawn_delay_s if spec.respawn
            else None,
            "on_exit": "shutdown" if spec.ends_graph else None,
        })
    kept = [{key: value for key, value in d.items() if value not in (None, [], {}, False)}
            for d in documents]
    return yaml.safe_dump(kept, sort_keys=False, default_flow_style=False).rstrip()


def _warn_of_same_names(specs: Sequence[NodeSpec]) -> None:
    names = Counter(
        f"{(spec.namespace or '').rstrip('/')}/{spec.name}"
        for spec in specs if spec.name is not None
    )
    for name, count in names.items():
        if count > 1:
            print(f"warning: {count} nodes have the name {name}", file=sys.stderr)


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hiwm_launch", description="Run a launch file without a ROS installation.",
        epilog="Ctrl-C stops the graph; a second one terminates its nodes, a third one kills them.",
    )
    parser.add_argument("file", type=path_argument, help="path of a .launch.xml file")
    parser.add_argument("arguments", nargs="*", metavar="name:=value", help="launch arguments")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-s", "--show-args", action="store_true", help="list its arguments")
    what.add_argument("-p", "--print", action="store_true", help="print what it would start")
    return parser.parse_intermixed_args(words)
