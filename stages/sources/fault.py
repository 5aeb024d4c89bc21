"""Why a source did not bring what was asked of it."""


class Fault(Exception):
    """A source failed. The message says what was found there, to stand after an address and a colon."""


class TooSlow(Fault):
    """The host brings bytes, but so few that another source comes first."""
