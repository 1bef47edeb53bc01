"""The one exception for what a user can mend."""


class UserError(Exception):
    """One or two lines that say what is wrong and what to do. `cli.run` prints them and exits with code 2."""
