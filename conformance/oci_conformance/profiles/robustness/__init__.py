"""Tests of the profile `robustness`: a runtime that is killed in the middle. Not part of the specification's score."""
