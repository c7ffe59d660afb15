"""Tests of the profile `hardening`: hostile root file systems. Not part of the specification's score."""
