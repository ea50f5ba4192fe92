"""An evaluation's numbers in words: the table that is printed and the rows of the card."""

from collections.abc import Mapping, Sequence
from typing import Any

from hiwm_learning.checkpoints import CheckpointInfo
from hiwm_learning.model_card import counts_text
from hiwm_learning.world_models.families import family_of

Numbers = Mapping[str, Any]

COLUMNS = ("imagined", "bound", "copy")
PIXELS = (("psnr_db", "PSNR, dB", ".1f"), ("ssim", "SSIM", ".3f"))


def rows_of(numbers: Numbers) -> list[tuple[str, str, str]]:
    """Return key, title and format of each number at a horizon: pixels, then the task's own."""
    columns = numbers["measure"]["columns"]
    return [*PIXELS, *((one["key"], one["title"], one["form"]) for one in columns)]


def markdown(numbers: Numbers) -> str:
    """Return all of it as markdown tables."""
    parts = [
        _all_starts_table(numbers), _horizon_table(numbers), _replay_table(numbers),
        _action_table(numbers), _divergence_table(numbers),
        _trust_tables(numbers), _head_table(numbers), _latency_table(numbers),
    ]
    return "\n\n".join(parts)


def card_paragraphs(info: CheckpointInfo, numbers: Numbers) -> list[str]:
    """Return what the model is and how it was measured, for its card."""
    family = family_of(info.kind)
    what = family.description if family else f"A world model of the kind {info.kind}."
    return [
        f"{what} It is trained from images, joint states and "
        "commands; ground truth labels only the progress head and the start frames.",
        f"Measured on {_recordings(numbers)}. Open loop from "
        f"{numbers['starts']} starts with the recorded actions, true and imagined frames read in "
        "the same way; a horizon counts the rollouts in which something moves within it.",
    ]


def _recordings(numbers: Numbers) -> str:
    count = numbers["held_out_recordings"]
    if numbers["unseen"]:
        return f"{count} bags recorded for this; none was in the training set"
    return f"every tenth bag of the training set, {count} of them, held out"


def card_kinds(info: CheckpointInfo) -> dict[str, str]:
    """Return the rows of the card that say how much there was of each kind of episode."""
    found = {
        "Episodes by kind": info.data.get("episodes_by_kind"),
        "Frames by kind": info.data.get("frames_by_kind"),
    }
    return {title: counts_text(counts) for title, counts in found.items() if counts}


def card_numbers(numbers: Numbers) -> dict[str, str]:
    """Return the rows of the card."""
    rows = {
        f"{step} steps": "; ".join([
            *(f"{title}: {_cell(one[key], form)}" for key, title, form in rows_of(numbers)),
            f"n = {row['n']}",
        ])
        for step, row in numbers["horizons"].items() if row["n"]
        for one in (row["imagined"],)
    }
    drift, moving = numbers["idle_drift"], numbers["trust"]["pooled"]["moving"]
    unit, bad = numbers["measure"]["error_unit"], numbers["measure"]["bad_error"]
    for step, row in numbers["all_starts"].items():
        if row["n"]:
            imagined, copy, bound = (row[name]["psnr_db"] for name in ("imagined", "copy", "bound"))
            rows[f"{step} steps, all starts"] = (
                f"PSNR {imagined:.1f} dB (copied frame {copy:.1f}, bound {bound:.1f}), "
                f"n = {row['n']}"
            )
    rows["100 idle steps"] = (
        f"drift {_cell(drift['median'], '.4f')} {unit} (median), {_cell(drift['worst'], '.4f')} "
        f"{unit} (worst of {drift['n']:.0f})"
    )
    replays = numbers["replays"]["frames"]
    rows["Whole episodes replayed"] = (
        "success read from the last frame agrees in "
        f"{_cell(replays['agree_share'], '.2f')} of {replays['n']}"
    )
    rows["Trust"] = (
        f"rank correlation of doubt with the error {_cell(moving['spearman_error'], '.2f')}, area "
        f"under ROC for errors above {bad:g} {unit} {_cell(moving['auc_bad_error'], '.2f')} "
        f"(where something moves, n = {moving['n']})"
    )
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _horizon_table(numbers: Numbers) -> str:
    horizons = numbers["horizons"]
    rows = [["rollouts counted", *(str(row["n"]) for row in horizons.values())]]
    for key, title, form in rows_of(numbers):
        for name in COLUMNS:
            rows.append([
                f"{title}: {name}",
                *(_cell(row.get(name, {}).get(key), form) for row in horizons.values()),
            ])
    floor = (numbers["floor"] or {}).get("steps", {})
    if floor:
        rows.append(["stand-in replays counted", *(
            str(floor.get(step, {}).get("n", 0)) for step in horizons
        )])
        shared = {key for row in floor.values() for key in row}
        for key, title, form in (row for row in rows_of(numbers) if row[0] in shared):
            rows.append([
                f"{title}: stand-in, start off a little",
                *(_cell(floor.get(step, {}).get(key), form) for step in horizons),
            ])
    return _table(["steps", *horizons], rows)


def _all_starts_table(numbers: Numbers) -> str:
    horizons = numbers["all_starts"]
    rows = [["rollouts, all starts", *(str(row["n"]) for row in horizons.values())]]

    def add(title: str, name: str, form: str, *keys: str) -> None:
        cells = []
        for row in horizons.values():
            value: Any = row.get(name)
            for key in keys:
                value = (value or {}).get(key)
            cells.append(_cell(value, form))
        rows.append([title, *cells])

    for key, title, form in (*PIXELS, ("changed_psnr_db", "PSNR of changed pixels, dB", ".1f")):
        for name in COLUMNS:
            add(f"{title}: {name}", name, form, key)
    first = horizons["1"].get("imagined", {})
    for camera in first.get("others_psnr_db", {}):
        for name in COLUMNS:
            add(f"PSNR of {camera}, dB: {name}", name, ".1f", "others_psnr_db", camera)
    for unit in first.get("proprioception_median", {}):
        for name in ("imagined", "copy"):
            add(
                f"proprioception, median error, {unit}: {name}", name, ".4f",
                "proprioception_median", unit,
            )
    return _table(["steps", *horizons], rows)


def _replay_table(numbers: Numbers) -> str:
    replays = numbers["replays"]
    rows = [
        [title, str(one["n"]), _cell(one["agree_share"], ".2f"),
         *(str(one[key]) for key in (
             "true_positives", "false_positives", "false_negatives", "true_negatives"))]
        for title, one in (
            ("last imagined frame", replays["frames"]), ("success head", replays["head"])
        )
    ]
    return _table(
        [f"success in {replays['n']} whole episodes, by the", "n", "agrees with the true frame",
         "both", "only imagined", "only true", "neither"], rows,
    )


def _action_table(numbers: Numbers) -> str:
    rows = []
    for step, row in numbers["actions"].items():
        for key, title, form in rows_of(numbers):
            names = ("true", "shuffled", "stay")
            rows.append([
                f"{step} steps, {title}", *(_cell(row.get(n, {}).get(key), form) for n in names)
            ])
    return _table(["actions", "true", "shuffled", "stay"], rows)


def _divergence_table(numbers: Numbers) -> str:
    keys = ("quartile_steps", "median_steps", "upper_quartile_steps")
    beyond = next(iter(numbers["divergence"].values()))["beyond"]
    rows = [
        [name, str(one["n"]), *(_cell(one[key], ".0f") for key in keys),
         f"{one['never_share']:.2f}"]
        for name, one in numbers["divergence"].items()
    ]
    return _table(
        [f"first step with {beyond} (- = not reached)", "n", "lower quartile",
         "median", "upper quartile", "never while recorded"], rows,
    )


def _trust_tables(numbers: Numbers) -> str:
    trust = numbers["trust"]
    unit, bad = numbers["measure"]["error_unit"], numbers["measure"]["bad_error"]
    groups = {**trust["horizons"], "pooled": trust["pooled"]}
    rows = [
        [f"{step}, {who}", str(one["n"]), str(one["bad"]),
         *(_cell(one[key], ".2f") for key in
           ("spearman_error", "spearman_frame_rmse", "auc_bad_error"))]
        for step, group in groups.items() for who, one in group.items()
    ]
    scored = _table(
        ["doubt at steps", "n", f"error above {bad:g} {unit}", "rank correlation, error",
         "rank correlation, frame RMSE", "area under ROC"], rows,
    )
    bins = [
        [f"{row['from']:g} to {row['to']:g}", f"{row['n']:.0f}",
         _cell(row["median_error"], ".3f"), _cell(row["bad_share"], ".2f")]
        for row in trust["reliability"]
    ]
    return scored + "\n\n" + _table(
        ["trust", "n", f"error, median, {unit}", f"above {bad:g} {unit}, share"],
        bins,
    )


def _head_table(numbers: Numbers) -> str:
    keys = (
        "n", "positives", "true_positives", "false_positives", "false_negatives",
        "true_negatives",
    )
    rows = [
        [name.replace("_", " "), *(str(one[key]) for key in keys),
         _cell(one["progress_mae"], ".4f")]
        for name, one in numbers["heads"].items()
    ]
    return _table(
        ["success", *(key.replace("_", " ") for key in keys), "progress, mean error"], rows
    )


def _latency_table(numbers: Numbers) -> str:
    rows = [
        [batch, f"{one['p50_ms_per_state']:.2f}", f"{one['p95_ms_per_state']:.2f}",
         f"{one['p50_processor_ms_per_state']:.2f}"]
        for batch, one in numbers["latency"].items()
    ]
    drift, unit = numbers["idle_drift"], numbers["measure"]["error_unit"]
    return _table(
        ["states at once", "p50, ms a state", "p95, ms a state", "p50, processor ms a state"], rows
    ) + (
        f"\n\n100 idle steps: drift {_cell(drift['median'], '.4f')} {unit} in the median of "
        f"{drift['n']:.0f} starts, {_cell(drift['worst'], '.3f')} {unit} at worst."
    )
