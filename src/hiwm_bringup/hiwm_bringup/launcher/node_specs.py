"""A node as resolved: what to start, and the command line the real launch would give it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError

from .parameter_values import Value

ParameterSource = Path | Mapping[str, Value]


class _QuotedText(yaml.SafeDumper):
    """Writes every text in quotes: ROS reads a bare `4e7` as a number where YAML reads text."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Return the node of a text."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')


_QuotedText.add_representer(str, _QuotedText.represent_str)


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """One node, everything substituted.

    Args:
        package: ROS package.
        executable: its name in lib/<package>.
        name: node name; None leaves the node its own.
        namespace: absolute namespace; None where neither the node nor a group gives one.
        parameters: files and name-value mappings; a later one wins.
        remaps: (from, to) in order.
        environment: variables added to the launcher's own.
        arguments: command line before any --ros-args.
        ros_arguments: command line after a --ros-args of its own; None where none is given.
        respawn: start again whenever it ends.
        respawn_delay_s: seconds before that.
        ends_graph: on_exit="shutdown": its end ends everything.
        where: file:line of its element.
    """

    package: str
    executable: str
    name: str | None = None
    namespace: str | None = None
    parameters: tuple[ParameterSource, ...] = ()
    remaps: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    ros_arguments: tuple[str, ...] | None = None
    respawn: bool = False
    respawn_delay_s: float = 0.0
    ends_graph: bool = False
    where: str = ""

    @property
    def label(self) -> str:
        """Return what its lines are prefixed with."""
        return self.name or self.executable

    @property
    def parameter_key(self) -> str:
        """Return the node key of its parameter files: its full name, or every node of the process.

        As in launch: a node whose name or namespace is left open is matched by `/**`.
        """
        if self.name is None or self.namespace is None:
            return "/**"
        return self.name if self.name.startswith("/") else (
            f"{self.namespace.rstrip('/')}/{self.name}"
        )

    def command(self, path: str | Path, parameter_files: Sequence[str | Path]) -> list[str]:
        """Return the command line.

        Args:
            path: of the executable.
            parameter_files: one file for each of `parameters`.
        """
        command = [str(path), *self.arguments]
        if self.ros_arguments is not None:
            command += ["--ros-args", *self.ros_arguments]
        command.append("--ros-args")
        if self.name is not None:
            command += ["-r", f"__node:={self.name}"]
        if self.namespace is not None:
            command += ["-r", f"__ns:={self.namespace}"]
        for file in parameter_files:
            command += ["--params-file", str(file)]
        for source, target in self.remaps:
            command += ["-r", f"{source}:={target}"]
        return command

    def write_parameters(self, folder: Path, stem: str) -> list[Path]:
        """Write the name-value parameters into files and return one file for each source."""
        files: list[Path] = []
        for number, source in enumerate(self.parameters):
            if isinstance(source, Path):
                files.append(source)
                continue
            file = folder / f"{stem}_{number}.yaml"
            content = {self.parameter_key: {"ros__parameters": dict(source)}}
            file.write_text(yaml.dump(content, Dumper=_QuotedText, default_flow_style=False))
            files.append(file)
        return files

    def merged_parameters(self) -> dict[str, Value]:
        """Return the name-value parameters, a later one winning; files are left out."""
        merged: dict[str, Value] = {}
        for source in self.parameters:
            if not isinstance(source, Path):
                merged.update(source)
        return merged


def locate(spec: NodeSpec) -> Path:
    """Return the path of a node's executable.

    Raises:
        ConfigError: no such package, or no such executable in it.
    """
    remedy = "build the workspace (scripts/setup) and source scripts/env.sh"
    try:
        prefix = Path(get_package_prefix(spec.package))
    except (PackageNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"no package {spec.package!r} in AMENT_PREFIX_PATH", where=spec.where, remedy=remedy
        ) from None
    folder = prefix / "lib" / spec.package
    found = shutil.which(spec.executable, path=str(folder))
    if found is None:
        known = sorted(file.name for file in folder.glob("*")) if folder.is_dir() else []
        raise ConfigError(
            f"package {spec.package!r} has no executable {spec.executable!r}", where=spec.where,
            remedy=f"it has {', '.join(known) or 'none'}{nearest(spec.executable, known)}; "
            + remedy,
        )
    return Path(found)
