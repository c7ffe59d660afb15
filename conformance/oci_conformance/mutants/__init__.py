"""Runtimes with one thing broken, made of a good one: the tests have to notice each of them.

A mutant is a script that stands between the suite and a real runtime (wrapper.py). It edits the configuration before
`create` sees it (edits.py), or misbehaves in one way (behaviours.py). engine.py runs the tests that could notice.
"""
