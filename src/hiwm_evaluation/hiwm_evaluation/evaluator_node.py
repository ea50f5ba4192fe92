"""The evaluator node: runs a list of trials through the graph and reports the success rate.

It uses only the services that a person uses (``control/request``, ``world/reset``), so the same
trials run in imagination and on the stand-in. ``hiwm_evaluation.evaluation`` has the sequence of a
trial.
"""

import sys
import time
from typing import Any

from hiwm_interfaces.msg import ControlState, EvaluationStatus, GroundTruth, Tick, WorldInfo
from hiwm_interfaces.srv import ControlRequest, LabelTrial, Reset
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.task import Future
from std_srvs.srv import Trigger

from hiwm_core.control import Mode
from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.launch_identity import session_path
from hiwm_core.robot_config import load_robot
from hiwm_core.stamps import stamp_ns
from hiwm_core.tasks import JudgedBy, Task, parse_task
from hiwm_core.user_paths import user_path
from hiwm_core.world_heads import require_success_head
from hiwm_evaluation.evaluation import Evaluation
from hiwm_evaluation.evaluation_messages import (
    Action,
    Finish,
    Record,
    Request,
    RequestKind,
    TrialTick,
)
from hiwm_evaluation.judges import GroundTruthJudge, HeadJudge, Judge, PersonJudge
from hiwm_evaluation.status import prompt_text, status_message, time_left
from hiwm_evaluation.trials import (
    Outcome,
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
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import NodeEnd, run
from hiwm_nodes.session import hold_role, session_folder

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
        self._trials = int(parameter(self, "trials", 10, "total number of trials", 1, 100_000))
        self._starts_file = str(parameter(
            self, "starts_file", "",
            "YAML list of starts, each a list of the task's values; empty = drawn with seed",
        ))
        self._horizon = int(parameter(
            self, "horizon", 0, "most ticks of a trial; 0 = from the task", 0, 1_000_000
        ))
        self._seed = int(parameter(
            self, "seed", 0, "seed of the starts; trial i is reset with seed + i", 0, 2**31 - 1
        ))
        self._threshold = float(parameter(
            self, "success_threshold", 0.5,
            "imagination: probability of success that counts as success", 0.0, 1.0,
        ))
        self._judge = str(parameter(
            self, "judge", "auto",
            "who judges: auto (a success head in imagination, else as the task says) or person",
        ))
        if self._judge not in ("auto", "person"):
            raise ConfigError(
                f"judge {self._judge!r}", where="parameter judge of evaluator",
                remedy="use auto or person",
            )
        self._tick_timeout = float(parameter(
            self, "tick_timeout_s", 20.0,
            "a trial without a tick for this time is aborted [s]", 0.1, 3600.0,
        ))
        self._startup_timeout = float(parameter(
            self, "startup_timeout_s", 120.0,
            "the graph must be complete within this time [s]", 1.0, 3600.0,
        ))
        session = session_folder(self, "session folder")
        output = str(parameter(
            self, "output_dir", "", "result folder; empty = evaluation in the session folder"
        ))
        if session is not None:
            self._output = session / "evaluation"
            hold_role(session, "evaluator")
        if output:
            self._output = session_path(output)
            hold_role(self._output, "evaluator")
        elif session is None:
            raise ConfigError(
                "no folder for results", where="parameters output_dir and session_dir of evaluator",
                remedy="set one of the two",
            )
        self._folder: TrialFolder | None = None
        self._start_names: list[str] = []
        self._evaluation: Evaluation | None = None
        self._info: WorldInfo | None = None
        self._task: Task | None = None
        self._end: NodeEnd | None = None
        self._request: Request | None = None  # waiting for its service
        self._started = self._printed_at = time.monotonic()
        self._control = self.create_client(ControlRequest, "control/request")
        self._reset = self.create_client(Reset, "world/reset")
        self._unanswered: tuple[Client, Future] | None = None  # the unanswered request
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
                device=message.applied_device, episode_id=message.episode_id,
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
            self._send()
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
                self._print(f"trial {result.trial + 1}/{self._trials}: {result.outcome.value}, "
                            f"{result.judged_by}, {result.reason}")
            response.ok = True
        except HiwmError as error:
            response.message = str(error)
        return response

    def _report(self, evaluation: Evaluation) -> None:
        """Print progress at intervals, and publish the status when it changes."""
        assert self._folder is not None and self._task is not None
        prompt = prompt_text(
            evaluation, self._task, self._trials, self.resolve_service_name("evaluation/continue"),
            self.resolve_service_name("evaluation/label"),
        )
        status = status_message(
            evaluation, list(self._folder.results.values()), self._trials, prompt,
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
                ("world/reset of a world", self._reset.service_is_ready()),
                ("control/request of the arbiter", self._control.service_is_ready()),
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
        elif now - self._started > self._startup_timeout:
            raise NodeEnd(
                1, f"error: no {', no '.join(missing)} after {self._startup_timeout:g} s "
                "(evaluator): start the complete graph, for example with evaluate.launch.xml"
            )
        elif now - self._printed_at > _PROGRESS_S:
            self._diagnostics.report(WARN, f"waiting for {', '.join(missing)}")
            self._print(f"waiting for {', '.join(missing)}")

    def _begin(self) -> None:
        info = self._info
        assert info is not None
        task = self._task = parse_task(info.task_yaml, "task of world_info")
        horizon = self._horizon or task.horizon_steps
        starts = (
            read_starts(user_path(self._starts_file), self._trials, task.start_names)
            if self._starts_file
            else sampled_starts(task, self._seed, self._trials)
        )
        imagined = info.kind == "imagination"
        if imagined and self._judge == "auto":
            require_success_head(info.heads, f"world model {info.checkpoint_hash[:8]}")
        threshold = self._threshold if imagined else task.success_progress
        self._folder = TrialFolder(
            self._output, self._conditions(info, horizon, threshold), starts, task.start_names
        )
        results = list(self._folder.results.values())
        finished = {number for number in self._folder.finished if number < self._trials}
        if finished:
            self._print(f"resuming: {len(finished)} of {self._trials} trials are done")

        def judge() -> Judge:
            if self._judge == "person":
                return PersonJudge()
            if imagined or task.judge is JudgedBy.HEAD:
                return HeadJudge(threshold)
            known = info.stand_in and task.judge is JudgedBy.GROUND_TRUTH
            return GroundTruthJudge(threshold) if known else PersonJudge()

        policies = summarize(results)["policies"]
        self._evaluation = Evaluation(
            starts=starts, seed=self._seed, horizon=horizon, finished=finished,
            policy=policies[0] if policies else "", make_judge=judge,
            tick_timeout_s=self._tick_timeout, clock=time.monotonic,
            by_hand=not info.auto_reset,
        )
        where = f"{info.kind}{f' ({info.robot}' + ', a stand-in)' if info.stand_in else ''}"
        self._print(
            f"{self._trials} trials of {task.name} in {where}, at most {horizon} ticks each; "
            f"results in {self._output}"
        )
        self._diagnostics.report(OK, "running")
        self._do(self._evaluation.begin())

    def _conditions(self, info: WorldInfo, horizon: int, threshold: float) -> dict[str, Any]:
        return {
            "world": info.kind, "robot": info.robot, "stand_in": info.stand_in,
            "embodiment_hash": info.embodiment_hash, "task": info.task,
            "task_hash": info.task_hash, "checkpoint_hash": info.checkpoint_hash,
            "seed": self._seed, "horizon": horizon, "success_threshold": threshold,
        }

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Request):
                self._request = action
                self._send()
            elif isinstance(action, Record):
                self._keep(action.result)
            elif isinstance(action, Finish):
                self._finish(action.problem)

    def _send(self) -> None:
        """Send the pending request once its service is available."""
        request = self._request
        if request is None:
            return
        client = self._reset if request.kind is RequestKind.RESET else self._control
        if not client.service_is_ready():
            return
        self._request = None
        if self._unanswered is not None:  # never answered; its trial was aborted
            asked, call = self._unanswered
            asked.remove_pending_request(call)
        if request.kind is RequestKind.RESET:
            future = client.call_async(Reset.Request(
                start_names=list(self._task.start_names) if self._task else [],
                start_values=[float(value) for value in request.start], seed=request.seed,
                by_hand=request.by_hand,
            ))
        else:
            code = getattr(ControlRequest.Request, request.kind.name)
            future = client.call_async(ControlRequest.Request(request=code, reason="evaluation"))
        self._unanswered = client, future
        future.add_done_callback(lambda done: self._on_answer(request, done))

    def _on_answer(self, request: Request, future: Future) -> None:
        self._unanswered = None
        answer = future.result()
        if self._evaluation and answer is not None:
            epoch = answer.epoch if request.kind is RequestKind.RESET else -1
            self._do(self._evaluation.on_reply(
                request.number, accepted=answer.ok, message=answer.message, epoch=epoch
            ))

    def _keep(self, result: TrialResult) -> None:
        assert self._folder is not None
        try:
            self._folder.append(result)
        except HiwmError as error:
            self._end = NodeEnd(1, f"error: {error}")
            return
        results = list(self._folder.results.values())
        so_far = summarize(results)
        text = f"trial {result.trial + 1}/{self._trials}: {result.outcome.value}"
        if result.outcome is Outcome.ABORTED:
            text += f", {result.reason}"
        elif result.judged_by.startswith(PersonJudge.name):
            text += f" after {result.steps} ticks, judged by {result.judged_by}"
        else:
            text += f" after {result.steps} ticks, best {result.best:.2f} by {result.judged_by}"
        text += f"; so far {so_far['successes']}/{so_far['trials']}"
        if self._evaluation and (left := time_left(self._evaluation, results)) > 0:
            text += f", {duration_text(left)}"
        self._print(text)

    def _finish(self, problem: str) -> None:
        assert self._folder is not None
        summary = self._folder.write_summary()
        line = f"{summary_line(summary)}; results in {self._output}"
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
