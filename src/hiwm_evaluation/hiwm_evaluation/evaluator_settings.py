"""The evaluator's parameters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rclpy.node import Node

from hiwm_core.errors import ConfigError
from hiwm_core.launch_identity import session_path
from hiwm_core.user_paths import user_path
from hiwm_nodes.parameters import parameter
from hiwm_nodes.session import hold_role, session_folder


@dataclass(frozen=True, kw_only=True)
class EvaluatorSettings:
    """The evaluator's parameters, by what they say; see their descriptions."""

    trials: int
    starts_file: Path | None  # None: starts are drawn with the seed
    horizon: int  # ticks; 0 = from the task
    seed: int
    threshold: float  # in imagination: probability of success that counts as success
    by_person: bool  # a person judges, whatever the task says
    tick_timeout_s: float
    startup_timeout_s: float
    output: Path  # result folder

    @classmethod
    def declared(cls, node: Node) -> Self:
        """Declare the parameters of a node, take its role, and return their values.

        Raises:
            ConfigError: a value is invalid, or there is no folder for results.
        """
        trials = int(parameter(node, "trials", 10, "total number of trials", 1, 100_000))
        starts_file = str(parameter(
            node, "starts_file", "",
            "YAML list of starts, each a list of the task's values; empty = drawn with seed",
        ))
        horizon = int(parameter(
            node, "horizon", 0, "most ticks of a trial; 0 = from the task", 0, 1_000_000
        ))
        seed = int(parameter(
            node, "seed", 0, "seed of the starts; trial i is reset with seed + i", 0, 2**31 - 1
        ))
        threshold = float(parameter(
            node, "success_threshold", 0.5,
            "imagination: probability of success that counts as success", 0.0, 1.0,
        ))
        judge = str(parameter(
            node, "judge", "auto",
            "who judges: auto (a success head in imagination, else as the task says) or person",
        ))
        if judge not in ("auto", "person"):
            raise ConfigError(
                f"judge {judge!r}", where="parameter judge of evaluator",
                remedy="use auto or person",
            )
        tick_timeout_s = float(parameter(
            node, "tick_timeout_s", 20.0,
            "a trial without a tick for this time is aborted [s]", 0.1, 3600.0,
        ))
        startup_timeout_s = float(parameter(
            node, "startup_timeout_s", 120.0,
            "the graph must be complete within this time [s]", 1.0, 3600.0,
        ))
        return cls(
            trials=trials, starts_file=user_path(starts_file) if starts_file else None,
            horizon=horizon, seed=seed, threshold=threshold, by_person=judge == "person",
            tick_timeout_s=tick_timeout_s, startup_timeout_s=startup_timeout_s,
            output=_output_folder(node),
        )


def _output_folder(node: Node) -> Path:
    """Return the result folder, and hold the evaluator's role in it and in the session."""
    session = session_folder(node, "session folder")
    output = str(parameter(
        node, "output_dir", "", "result folder; empty = evaluation in the session folder"
    ))
    if session is not None:
        hold_role(session, "evaluator")
    if output:
        folder = session_path(output)
        hold_role(folder, "evaluator")
        return folder
    if session is None:
        raise ConfigError(
            "no folder for results", where="parameters output_dir and session_dir of evaluator",
            remedy="set one of the two",
        )
    return session / "evaluation"
