"""How figures are written in texts, on a terminal and on a page."""


def percent(part: float, digits: int = 2) -> str:
    """Write a part of 1 in percent."""
    return f"{100 * part:.{digits}f} %"
