"""The one name that simplejson's scanner takes from the standard library's operator module."""

from _operator import itemgetter

__all__ = ["itemgetter"]
