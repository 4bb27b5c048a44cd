"""Split the arguments of the command line, and refuse those that no option may have."""

import string

from model.errors import BadUsage

MOST_CHARACTERS = 2**14  # a thousand seeds by number have 11,000, a path has 4,096
_OF_SCHEMES = string.ascii_letters + string.digits + "+.-"


def refuse_secrets(arguments: list[str]) -> None:
    """Refuse a URI that carries a user, a password, a signature or a token: what is named is written to records.

    Raises:
        BadUsage: there is one; the message does not repeat it.
    """
    for argument in arguments:
        for word in argument.replace(",", " ").split():
            scheme = _scheme_with_secret(word)
            if scheme:
                raise BadUsage(
                    f"a {scheme}:// URI with USER@ or ?QUERY, which may hold a secret and would be written to records: "
                    "give the plain URI; credentials are those of the environment"
                )


def _scheme_with_secret(word: str) -> str:
    """Return the scheme of the first URI in a word that has USER@ or ?QUERY, or nothing; in linear time."""
    before, *others = word.split("://")
    has_query = "?" in word.partition("://")[2]
    for following in others:
        scheme = before[len(before.rstrip(_OF_SCHEMES)) :].lstrip(string.digits + "+.-")
        if scheme and (has_query or "@" in following.partition("/")[0]):
            return scheme
        before = following
    return ""


def refuse_long_arguments(arguments: list[str]) -> None:
    """Refuse an argument that is longer than any name, place or list; raises BadUsage."""
    for argument in arguments:
        if len(argument) > MOST_CHARACTERS:
            raise BadUsage(
                f"an argument of {len(argument):,} characters, expected at most {MOST_CHARACTERS:,}: "
                f"{argument[:40]!r}..."
            )


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split the command line at its first --: ours before, Beam's after."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]
