"""The tests, a package for each profile; `support` is what tests of several profiles share."""
