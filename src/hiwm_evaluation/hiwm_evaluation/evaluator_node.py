"""The evaluator node: runs a list of trials through the graph and reports the success rate.

It uses only the services that a person uses (``control/request``, ``world/reset``), so the same
trials run in imagination and on the stand-in. ``hiwm_evaluation.evaluation`` has the sequence of a
trial.
"""

import sys
import time
from typing import Any

from hiwm_interfaces.msg import ControlState, EvaluationStatus, GroundTruth, Tick, WorldInfo
from hiwm_interfaces.srv import LabelTrial
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger

from hiwm_core.control import Mode
from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.robot_config import load_robot
from hiwm_core.stamps import stamp_ns
from hiwm_core.tasks import Task, parse_task
from hiwm_core.world_heads import require_success_head
from hiwm_evaluation.evaluation import Evaluation
from hiwm_evaluation.evaluation_messages import (
    Action,
    Finish,
    Record,
    Request,
    TrialTick,
)
from hiwm_evaluation.evaluator_settings import EvaluatorSettings
from hiwm_evaluation.judges import Judge, PersonJudge, judge_of
from hiwm_evaluation.status import prompt_text, result_text, status_message
from hiwm_evaluation.trial_requests import TrialRequests
from hiwm_evaluation.trials import (
    TrialFolder,
    TrialResult,
    duration_text,
    read_starts,
    sampled_starts,
    summarize,
    summary_line,
)
from hiwm_nodes import qos
from hiwm_nodes.diagnostics import OK, WARN, Diagnostics
from hiwm_nodes.listening import Listening
from hiwm_nodes.running import NodeEnd, run

# Worlds do not wait for the evaluator, and a lost tick may be the successful one. The queue covers
# a stall of several seconds at the highest rates.
_LOSSLESS = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
_TIMER_S = 0.02
_PROGRESS_S = 5.0
_STATUS_S = 0.2
_PROMPT_S = 60.0  # interval at which a prompt is repeated


class EvaluatorNode(Node):
    """Runs the unfinished trials, then exits."""

    def __init__(self) -> None:
        """Declare parameters and connect topics. Raises ConfigError for invalid parameters."""
        super().__init__("evaluator")
        self._settings = EvaluatorSettings.declared(self)
        self._folder: TrialFolder | None = None
        self._evaluation: Evaluation | None = None
        self._info: WorldInfo | None = None
        self._task: Task | None = None
        self._end: NodeEnd | None = None
        self._started = self._printed_at = time.monotonic()
        self._requests = TrialRequests(self, self._on_reply)
        self._listening = Listening(self)
        self.create_subscription(WorldInfo, "world_info", self._on_world_info, qos.LATCHED)
        self._ticks = self.create_subscription(Tick, "tick", self._on_tick, _LOSSLESS)
        self.create_subscription(ControlState, "control_state", self._on_control, qos.LATCHED)
        self._truths: Subscription | None = None  # of a stand-in, on the topic of its robot file
        self._status_pub = self.create_publisher(
            EvaluationStatus, "evaluation/status", qos.LATCHED
        )
        self._status = EvaluationStatus()
        self._published_at = 0.0
        self.create_service(Trigger, "evaluation/continue", self._on_continue)
        self.create_service(LabelTrial, "evaluation/label", self._on_label)
        self._diagnostics = Diagnostics(self)
        # Steady: a world that stops its /clock must not stop the timeouts.
        self.create_timer(_TIMER_S, self._on_time, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Write the summary of the results."""
        if self._folder:
            self._folder.write_summary()
            self._folder.close()

    def _on_world_info(self, message: WorldInfo) -> None:
        self._info = message
        self._listening.on_world(message)
        if message.stand_in and self._truths is None:
            topic = load_robot(message.robot).ground_truth
            if topic:
                self._truths = self.create_subscription(
                    GroundTruth, topic, self._on_truth, _LOSSLESS
                )

    def _on_tick(self, message: Tick) -> None:
        if self._evaluation:
            self._do(self._evaluation.on_tick(TrialTick(
                epoch=message.epoch, step=message.step, stamp_ns=stamp_ns(message.header.stamp),
                success=message.success, source=message.applied_source,
                device=message.applied_device, episode_id=message.episode_id, trust=message.trust,
            )))

    def _on_truth(self, message: GroundTruth) -> None:
        if self._evaluation and self._task and self._task.plugin:
            plugin = self._task.plugin
            truth = dict(zip(message.names, message.values, strict=True))
            if not set(plugin.truth_names) <= set(truth):
                raise ConfigError(
                    f"ground truth has {', '.join(truth) or 'no values'}", where="ground_truth",
                    remedy=f"start a stand-in of task {self._task.name}, which has "
                    f"{', '.join(plugin.truth_names)}",
                )
            self._do(self._evaluation.on_truth(
                stamp_ns(message.header.stamp), plugin.progress(truth)
            ))

    def _on_control(self, message: ControlState) -> None:
        if self._evaluation:
            self._do(
                self._evaluation.on_control(Mode(message.mode), message.reason, message.epoch)
            )

    def _on_time(self) -> None:
        if self._evaluation is None:
            self._await_graph()
        else:
            self._requests.send()
            self._do(self._evaluation.on_time())
        if self._end:
            raise self._end
        if self._evaluation and time.monotonic() - self._published_at > _STATUS_S:
            self._report(self._evaluation)

    def _on_continue(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Handle a person's confirmation that the object is in place."""
        try:
            if self._evaluation is None:
                raise ConfigError(
                    "the evaluation has not started", where="evaluation/continue",
                    remedy="wait for the prompt",
                )
            self._do(self._evaluation.on_placed())
            response.success = True
        except HiwmError as error:
            response.message = str(error)
        return response

    def _on_label(
        self, request: LabelTrial.Request, response: LabelTrial.Response
    ) -> LabelTrial.Response:
        """Apply a person's verdict to the current trial or a finished one."""
        judged_by = f"person {request.who}".strip()
        try:
            if self._evaluation is None or self._folder is None:
                raise ConfigError(
                    "the evaluation has not started", where="evaluation/label",
                    remedy="label a trial after the policy's first action in it",
                )
            if request.trial == self._evaluation.trial:
                self._do(self._evaluation.on_label(request.success, judged_by, request.note))
            else:
                result = self._folder.label(
                    request.trial, request.success, judged_by, request.note
                )
                self._print(
                    f"trial {result.trial + 1}/{self._settings.trials}: "
                    f"{result.outcome.value}, {result.judged_by}, {result.reason}"
                )
            response.ok = True
        except HiwmError as error:
            response.message = str(error)
        return response

    def _report(self, evaluation: Evaluation) -> None:
        """Print progress at intervals, and publish the status when it changes."""
        assert self._folder is not None and self._task is not None
        prompt = prompt_text(
            evaluation, self._task, self._settings.trials,
            self.resolve_service_name("evaluation/continue"),
            self.resolve_service_name("evaluation/label"),
        )
        status = status_message(
            evaluation, list(self._folder.results.values()), self._settings.trials, prompt,
            list(self._task.start_names),
        )
        now = self._published_at = time.monotonic()
        if prompt and (prompt != self._status.prompt or now - self._printed_at > _PROMPT_S):
            self._print(prompt)
        elif not prompt and now - self._printed_at > _PROGRESS_S:
            self._print(", ".join(filter(None, (
                evaluation.progress, duration_text(status.seconds_left)
            ))))
        status.header.stamp = self._status.header.stamp
        if str(status) != str(self._status):  # as text, NaN equals NaN
            status.header.stamp = self.get_clock().now().to_msg()
            self._status = status
            self._status_pub.publish(status)

    def _await_graph(self) -> None:
        """Start when the graph is complete; exit with an error that names the missing parts."""
        missing = [
            name for name, present in (
                ("world_info of a world", self._info is not None),
                ("world/reset of a world", self._requests.reset.service_is_ready()),
                ("control/request of the arbiter", self._requests.control.service_is_ready()),
                ("policy/plan of a policy", self.count_publishers("policy/plan") > 0),
                # Connected, not only discovered: earlier messages would be lost.
                ("tick of a world", self._ticks.get_publisher_count() > 0),
                ("ground truth of the stand-in", self._info is None or not self._info.stand_in
                 or (self._truths is not None and self._truths.get_publisher_count() > 0)),
            ) if not present
        ]
        now = time.monotonic()
        if not missing:
            self._begin()
        elif now - self._started > (longest := self._settings.startup_timeout_s):
            raise NodeEnd(
                1, f"error: no {', no '.join(missing)} after {longest:g} s (evaluator): start the "
                "complete graph, for example with evaluate.launch.xml"
            )
        elif now - self._printed_at > _PROGRESS_S:
            self._diagnostics.report(WARN, f"waiting for {', '.join(missing)}")
            self._print(f"waiting for {', '.join(missing)}")

    def _begin(self) -> None:
        info = self._info
        assert info is not None
        task = self._task = parse_task(info.task_yaml, "task of world_info")
        settings, imagined = self._settings, info.kind == "imagination"
        horizon = settings.horizon or task.horizon_steps
        starts = (
            read_starts(settings.starts_file, settings.trials, task.start_names)
            if settings.starts_file
            else sampled_starts(task, settings.seed, settings.trials)
        )
        if imagined and not settings.by_person:
            require_success_head(info.heads, f"world model {info.checkpoint_hash[:8]}")
        threshold = settings.threshold if imagined else task.success_progress
        self._requests.start_names = list(task.start_names)
        self._folder = TrialFolder(
            settings.output, self._conditions(info, horizon, threshold), starts, task.start_names
        )
        results = list(self._folder.results.values())
        finished = {number for number in self._folder.finished if number < settings.trials}
        if finished:
            self._print(f"resuming: {len(finished)} of {settings.trials} trials are done")

        def judge() -> Judge:
            if settings.by_person:
                return PersonJudge()
            return judge_of(task.judge, threshold, imagined=imagined, stand_in=info.stand_in)

        policies = summarize(results)["policies"]
        self._evaluation = Evaluation(
            starts=starts, seed=settings.seed, horizon=horizon, finished=finished,
            policy=policies[0] if policies else "", make_judge=judge,
            tick_timeout_s=self._settings.tick_timeout_s, clock=time.monotonic,
            by_hand=not info.auto_reset,
        )
        where = f"{info.kind}{f' ({info.robot}' + ', a stand-in)' if info.stand_in else ''}"
        self._print(
            f"{settings.trials} trials of {task.name} in {where}, at most {horizon} ticks each; "
            f"results in {settings.output}"
        )
        self._diagnostics.report(OK, "running")
        self._do(self._evaluation.begin())

    def _conditions(self, info: WorldInfo, horizon: int, threshold: float) -> dict[str, Any]:
        return {
            "world": info.kind, "robot": info.robot, "stand_in": info.stand_in,
            "embodiment_hash": info.embodiment_hash, "task": info.task,
            "task_hash": info.task_hash, "checkpoint_hash": info.checkpoint_hash,
            "seed": self._settings.seed, "horizon": horizon, "success_threshold": threshold,
        }

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Request):
                self._requests.ask(action)
            elif isinstance(action, Record):
                self._keep(action.result)
            elif isinstance(action, Finish):
                self._finish(action.problem)

    def _on_reply(self, number: int, accepted: bool, message: str, epoch: int) -> None:
        if self._evaluation:
            self._do(self._evaluation.on_reply(
                number, accepted=accepted, message=message, epoch=epoch
            ))

    def _keep(self, result: TrialResult) -> None:
        assert self._folder is not None
        try:
            self._folder.append(result)
        except HiwmError as error:
            self._end = NodeEnd(1, f"error: {error}")
            return
        self._print(result_text(
            result, list(self._folder.results.values()), self._settings.trials, self._evaluation
        ))

    def _finish(self, problem: str) -> None:
        assert self._folder is not None
        summary = self._folder.write_summary()
        line = f"{summary_line(summary)}; results in {self._settings.output}"
        if problem:
            line = f"error: {problem} (evaluator): fix it and start again to continue\n{line}"
        self._end = NodeEnd(1 if problem else 0, line)
        if self._evaluation:
            self._report(self._evaluation)

    def _print(self, text: str) -> None:
        self._printed_at = time.monotonic()
        print(text, flush=True)


def main() -> None:
    """Run the evaluator until its trials are done or it is interrupted."""
    sys.exit(run(EvaluatorNode))


if __name__ == "__main__":
    main()
