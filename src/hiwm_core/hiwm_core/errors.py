"""The few errors hiwm raises at its edges, phrased as what, where, what to do.

Everything that reads what a person wrote or plugged in (configs, checkpoints, bags, stores,
devices) raises one of these; a node prints the text as one line and ends.
"""


class HiwmError(Exception):
    """Something a person can mend.

    Args:
        what: what is wrong, with the offending value.
        where: file and field, topic, or device it was found at.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        text = what
        if where:
            text += f" ({where})"
        if remedy:
            text += f": {remedy}"
        super().__init__(text)


class ConfigError(HiwmError):
    """A configuration file or parameter is wrong."""


class CheckpointError(HiwmError):
    """A checkpoint is missing, damaged, or made for something else."""


class StoreError(HiwmError):
    """The session's branch or blob store cannot be read or written."""


class BusyError(HiwmError):
    """Another process holds what only one may have: a session, a world's place in a graph."""


class BagError(HiwmError):
    """A bag cannot be read or written, or belongs to something else."""


class DeviceError(HiwmError):
    """An operator's device is missing, lost, or not what was expected."""
