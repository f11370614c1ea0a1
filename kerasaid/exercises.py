"""The check under each exercise."""

from kerasaid.errors import OneLineError


class CheckFailed(OneLineError, AssertionError):
    """An exercise is not solved yet."""


def check(statement, test, hint):
    """Print `✓ statement` when the test holds, raise with the hint when it does not.

    Example:

    >>> check("shares add up to one", lambda: sum([0.25, 0.75]) == 1, "divide by the sum")
    ✓ shares add up to one

    Args:
        statement: what must be true of the answer, as a short sentence.
        test: a function without arguments that returns True or False. It is called here, so
            that an error inside the learner's code becomes part of the message.
        hint: what to look at when it fails.

    Raises:
        CheckFailed: when the test returns something false or raises.
    """
    try:
        passed, reason = bool(test()), ""
    except Exception as error:
        passed, reason = False, f" (your code raised {type(error).__name__}: {error})"
        if "ellipsis" in str(error):  # the type of `...`, which a stub returns
            hint, reason = "not solved yet, replace the ... by your answer", ""
    if not passed:
        raise CheckFailed(f"✗ {statement}: {hint}{reason}")
    print(f"✓ {statement}")
