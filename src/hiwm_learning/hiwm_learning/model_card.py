"""The card of a checkpoint: training data, training time and scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

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
    rows = {
        "File": f"`{checkpoint.name}`, sha256 `{content_hash}`",
        "Embodiment": f"{info.embodiment}, `{info.embodiment_hash[:12]}`",
        "Task": f"{info.task}, `{info.task_hash[:12]}`",
        "Training set": f"{info.data.get('episodes')} episodes, {info.data.get('frames')} frames",
        "Frames by provenance": ", ".join(
            f"{name} {count}" for name, count in info.data.get("frames_by_provenance", {}).items()
        ),
        "Recorded on": ", ".join(info.data.get("worlds", [])) or "unknown",
        **({} if info.period_s is None else {"Control period": _period(info)}),
        "Training": f"{info.steps} steps, {info.minutes:.1f} min, seed {info.seed}",
        **({"Started from": _lineage(info)} if info.data.get("lineage") else {}),
        **({} if info.heads is None else {"Trained heads": ", ".join(info.heads) or "none"}),
        **numbers,
    }
    lines = [f"# {title}", "", *(f"{text}\n" for text in paragraphs), "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    write_file(checkpoint.with_suffix(".card.md"), "\n".join(lines) + "\n")


def _lineage(info: CheckpointInfo) -> str:
    """Return the checkpoints that a model was trained on from, newest first."""
    return ", before that ".join(
        f"{one['name']} ({one['frames']} frames, {one['steps']} steps)"
        for one in reversed(info.data["lineage"])
    )


def _period(info: CheckpointInfo) -> str:
    assert info.period_s is not None
    text = f"{info.period_s:.3f} s"
    measured = info.data.get("measured_period_s")
    return text if measured is None else f"{text}, measured {measured:.3f} s"
