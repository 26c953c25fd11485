from .constants import COUNT


def total(rows):
    return sum(rows)


__all__ = ["COUNT", "total"]
