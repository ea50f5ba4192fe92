"""A resolved node: what to start, with the command line that the real launch would use."""

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
    """Quotes every string: ROS reads a bare `4e7` as a number, YAML as a string."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Return the YAML node of a string."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')


_QuotedText.add_representer(str, _QuotedText.represent_str)


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """One node, with every substitution performed.

    Args:
        package: ROS package.
        executable: its name in lib/<package>.
        name: node name; None keeps the executable's default.
        namespace: absolute namespace; None if neither the node nor a group sets one.
        parameters: files and name-value mappings; a later one wins.
        remaps: (from, to) in order.
        environment: variables added to the launcher's own.
        arguments: command line before any --ros-args.
        ros_arguments: command line after its own --ros-args; None if not given.
        respawn: restart it whenever it exits.
        respawn_delay_s: delay before a restart.
        ends_graph: on_exit="shutdown": its exit stops the graph.
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
        """Return the prefix of its output lines."""
        return self.name or self.executable

    @property
    def parameter_key(self) -> str:
        """Return the node key of its parameter files: its full name or `/**`.

        As in launch, it is `/**`, which matches every node of the process, if the name or the
        namespace is not set.
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
        """Write name-value parameters to files; return one file for each source."""
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
        """Return the name-value parameters without those of files; a later one wins."""
        merged: dict[str, Value] = {}
        for source in self.parameters:
            if not isinstance(source, Path):
                merged.update(source)
        return merged


def locate(spec: NodeSpec) -> Path:
    """Return the path of a node's executable.

    Raises:
        ConfigError: the package, or the executable in it, does not exist.
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
