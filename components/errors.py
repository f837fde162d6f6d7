"""The error that a user can mend."""


class UserError(Exception):
    """Something about the data, the configuration or the surroundings must change before the run can go on.

    The message states the rule, what was received, and the way out. The command line prints it without a traceback;
    every other exception is a defect of this project or of the stack and keeps its traceback (in the log file).
    """
