"""The few errors that hiwm raises at its edges, phrased as what, where, what to do.

Code that reads user input (configs, checkpoints, bags, stores, devices) raises one of these. A node
prints the text as one line and exits.
"""


class HiwmError(Exception):
    """A fault that a person can fix.

    Args:
        what: what is wrong, with the offending value.
        where: its file and field, topic, or device.
        remedy: how to fix it.
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


def reason(error: Exception) -> str:
    """Return why something failed, without the error number and the path of an OSError."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


class ConfigError(HiwmError):
    """A configuration file or parameter is wrong."""


class CheckpointError(HiwmError):
    """A checkpoint is missing, damaged, or made for something else."""


class StoreError(HiwmError):
    """The session's branch or blob store cannot be read or written."""


class BusyError(HiwmError):
    """Another process holds an exclusive resource: a session, or the world's role in a graph."""


class BagError(HiwmError):
    """A bag cannot be read or written, or belongs to something else."""


class DeviceError(HiwmError):
    """An operator's device is missing, lost, or not the expected one."""


class WireError(HiwmError):
    """A message of another process does not follow the protocol, or cannot be sent."""


class ServerError(HiwmError):
    """A server of policies or world models is missing, lost, late, or answers with an error."""
