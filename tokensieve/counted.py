"""A number with its noun, for messages."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return for example "1 class" or "2,000 classes". Without `many`, the plural ends in s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
