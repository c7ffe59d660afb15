"""Tests of the specification, a module per area of it."""
