"""The card of a checkpoint: training data, training time and scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hiwm_learning.checkpoints import CheckpointInfo, write_file


def write_card(
    checkpoint: Path, info: CheckpointInfo, content_hash: str, *, title: str,
    paragraphs: Sequence[str], numbers: Mapping[str, str],
) -> None:
    """Write `<stem>.card.json` for programs and `<stem>.card.md` for people.

    Args:
        checkpoint: the safetensors file.
        info: the checkpoint's description.
        content_hash: sha256 of the file.
        title: heading.
        paragraphs: what the model is and what its limits are.
        numbers: rows of the table, name to value with its unit.
    """
    record = {
        **{key: value for key, value in asdict(info).items() if key != "embodiment_text"},
        "file": checkpoint.name, "sha256": content_hash,
    }
    write_file(
        checkpoint.with_suffix(".card.json"),
        json.dumps(record, indent=1, sort_keys=True) + "\n",
    )
    rows = {**card_rows(record), **numbers}
    lines = [f"# {title}", "", *(f"{text}\n" for text in paragraphs), "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    write_file(checkpoint.with_suffix(".card.md"), "\n".join(lines) + "\n")


def card_rows(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the rows of the table that every card has, from the record in `<stem>.card.json`."""
    data = record["data"]
    heads, provenance = record.get("heads"), data.get("frames_by_provenance")
    rows = {
        "File": f"`{record['file']}`, sha256 `{record['sha256']}`",
        "Embodiment": f"{record['embodiment']}, `{record['embodiment_hash'][:12]}`",
        "Task": f"{record['task']}, `{record['task_hash'][:12]}`",
        "Training set": f"{data.get('episodes')} episodes, {data.get('frames')} frames",
    }
    if provenance:
        rows["Frames by provenance"] = counts_text(provenance)
    rows["Recorded on"] = ", ".join(map(_world, data.get("worlds", []))) or "unknown"
    if record.get("period_s") is not None:
        rows["Control period"] = _period(record["period_s"], data.get("measured_period_s"))
    rows["Training"] = (
        f"{record['steps']} steps, {record['minutes']:.1f} min, seed {record['seed']}"
    )
    if data.get("lineage"):
        rows["Started from"] = _lineage(data["lineage"])
    if heads is not None:
        rows["Trained heads"] = ", ".join(heads) or "none"
    return rows


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts by name as text, such as `demonstration 108, edge 72`."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _world(name: str) -> str:
    """Return where data was recorded. Early training runs stored no robot, only `standin`."""
    return "hardware (stand-in)" if name == "standin" else name


def _lineage(lineage: Sequence[Mapping[str, Any]]) -> str:
    """Return the checkpoints that a model was trained on from, newest first."""
    return ", before that ".join(
        f"{one['name']} ({one['frames']} frames, {one['steps']} steps)"
        for one in reversed(lineage)
    )


def _period(period_s: float, measured_s: float | None) -> str:
    text = f"{period_s:.3f} s"
    return text if measured_s is None else f"{text}, measured {measured_s:.3f} s"
