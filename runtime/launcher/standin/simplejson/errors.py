"""The scanner's exception."""


class JSONDecodeError(ValueError):
    """Text that is not JSON: `msg` says why, `pos` is the offset in characters."""

    def __init__(self, msg: str, doc: str, pos: int, end: int | None = None) -> None:
        ValueError.__init__(self, msg)
        self.msg = msg
        self.pos = pos
