"""Errors that a person can act on: one sentence, what was received, what is possible."""

import numbers


class OneLineError(Exception):
    """An error that Jupyter shows as its message alone, without a traceback."""

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]


class InputError(OneLineError, ValueError):
    """A parameter or a file given by the user cannot be used.

    A run that stops with it counts as a bad argument (exit code 2), not as a failed notebook.
    """


def require_dropout(dropout):
    """Raise InputError unless a rate of dropout is at least 0 and below 1."""
    if not isinstance(dropout, numbers.Real) or not 0 <= dropout < 1:
        raise InputError(f"dropout must be at least 0 and below 1, received {dropout!r}.")


def require_at_least(minimum, **parameters):
    """Raise unless every parameter is a whole number of at least `minimum`.

    Example:

    >>> require_at_least(1, epochs=5, batch_size=128)

    Args:
        minimum: the smallest number allowed.
        **parameters: the values by their names.

    Raises:
        InputError: naming the first parameter that does not fit, and what was received.
    """
    for name, value in parameters.items():
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or value < minimum:
            raise InputError(
                f"{name} must be a whole number of at least {minimum}, received {value!r}."
            )
