"""What we use of simplejson's C module: a linked-in module can't be inside of a package, so it has a name of ours."""

from _pyrun_json import encode_basestring_ascii, make_scanner

__all__ = ["encode_basestring_ascii", "make_scanner"]
