"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something outside the program is wrong: a file, an option, a machine.

    The message is one line that says which file, what is wrong and what to do. Scripts print it
    after their name and exit with status 1; every other exception is a defect and keeps its traceback.
    """
