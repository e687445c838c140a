"""Errors a user of this room can meet, and which errors of any room deserve one sentence instead of a traceback."""


class SimError(Exception):
    """Base of every user-facing error of this room."""


class ScriptError(SimError):
    """A script that cannot be run: missing, not Python, or without a kernel launch."""


# Module and class that each room's user-facing errors derive from.
_BASES = (
    ("sim.errors", "SimError"),
    ("gpu_model.errors", "GpuError"),
    ("rtl.tools", "ToolError"),
    ("hw.gpu_settings", "GpuSpecError"),
    ("hw.technology", "TechnologyError"),
)


def is_user_error(error: BaseException) -> bool:
    """Whether `error` is meant for the user: its message says what, where, got, expected and try."""
    return any((base.__module__, base.__qualname__) in _BASES for base in type(error).__mro__)
