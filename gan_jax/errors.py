"""The one exception for what a user can mend."""


class UserError(Exception):
    """One or two lines that say what is wrong and what to do. `cli.run` prints them and exits with code 2."""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, cut to a readable length; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def printable(name) -> str:
    """Return a name as it can be shown in one line: control characters and undecodable bytes escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(name))
