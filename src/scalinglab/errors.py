"""The one exception for a user's mistake: printed as a single line, without a traceback."""


class UserError(Exception):
    """Something the user can mend. The message names the offending value and the fix."""


class DamagedError(UserError):
    """A file is not what was written: cut short, or with other bytes."""
