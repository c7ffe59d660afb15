"""Holds simplejson._speedups, which is linked into the binary, and the two classes that it imports."""
