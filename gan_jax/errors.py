"""The one exception for what a user can mend."""


class UserError(Exception):
    """One or two lines that say what is wrong and what to do. `cli.run` prints them and exits with code 2."""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, cut to a readable length; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
