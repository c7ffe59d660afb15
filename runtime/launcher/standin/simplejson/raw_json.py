"""A class that the scanner's encoder half looks for."""


class RawJSON:
    """Never made."""
