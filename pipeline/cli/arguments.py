"""Split the arguments of the command line, and refuse those that no option may have."""

import string

from model.errors import BadUsage

MOST_CHARACTERS = 2**14  # a thousand seeds by number have 11,000, a path has 4,096
_SCHEME_CHARACTERS = string.ascii_letters + string.digits + "+.-"


def refuse_secrets(arguments: list[str]) -> None:
    """Raise BadUsage, which does not repeat it, for a URI that may carry a secret: records repeat arguments."""
    for argument in arguments:
        for word in argument.replace(",", " ").split():
            scheme = _find_scheme_with_secret(word)
            if scheme:
                raise BadUsage(
                    f"a {scheme}:// URI with USER@ or ?QUERY, which may hold a secret and would be written to records: "
                    "give the plain URI; credentials are those of the environment"
                )


def _find_scheme_with_secret(word: str) -> str:
    """Return the scheme of the first URI with USER@ or ?QUERY in a word, or an empty string; in linear time."""
    before, *parts = word.split("://")
    has_query = "?" in word.partition("://")[2]
    for following in parts:
        scheme = before[len(before.rstrip(_SCHEME_CHARACTERS)) :].lstrip(string.digits + "+.-")
        if scheme and (has_query or "@" in following.partition("/")[0]):
            return scheme
        before = following
    return ""


def refuse_long_arguments(arguments: list[str]) -> None:
    """Raise BadUsage for an argument that is longer than any valid one."""
    for argument in arguments:
        if len(argument) > MOST_CHARACTERS:
            raise BadUsage(
                f"an argument of {len(argument):,} characters, expected at most {MOST_CHARACTERS:,}: "
                f"{argument[:40]!r}..."
            )


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments before the first --, which are backbeam's, and those after it, which are Beam's."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]
