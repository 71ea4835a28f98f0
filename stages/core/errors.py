"""The one error that a user can mend."""


class InputError(Exception):
    """Bad input: the message names the thing, its value and the remedy."""
