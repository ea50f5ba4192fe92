"""Which bags an audit may be saved into and a recovery may change: those that hiwm recorded."""

from collections.abc import Sequence
from pathlib import Path

from hiwm_core.bags.audit import AUDIT_FILE
from hiwm_core.bags.lineage import is_ours
from hiwm_core.bags.metadata import METADATA_FILE, read_information
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.output_folders import check_output_file, json_with


def own_bags(bags: Sequence[Path]) -> tuple[list[Path], dict[Path, HiwmError]]:
    """Return the bags that pass `check_own`, and why each of the others does not."""
    errors: dict[Path, HiwmError] = {}
    for bag in bags:
        try:
            check_own(bag)
        except HiwmError as error:
            errors[bag] = error
    return [bag for bag in bags if bag not in errors], errors


def check_own(bag: Path) -> None:
    """Check that saving an audit in a bag replaces nothing that hiwm did not write.

    A damaged metadata.yaml is accepted: repairing it is what a recovery is for.

    Raises:
        ConfigError: the bag's audit.json is something else.
        BagError: another program wrote its metadata.yaml.
    """
    check_output_file(bag / AUDIT_FILE, "an audit", _is_audit)
    try:
        information = read_information(bag)
    except BagError:
        return
    if not is_ours(information.get("custom_data") or {}):
        raise BagError(
            "there is a bag that is not one recorded by hiwm; it was left unchanged",
            where=str(bag / METADATA_FILE),
            remedy="move it away, or audit it without --save",
        )


def _is_audit(path: Path) -> bool:
    """Return whether a file is an audit, or what a power cut leaves of one."""
    return json_with("bag", "ok", "problems")(path) or not path.read_bytes().strip(b"\0")
