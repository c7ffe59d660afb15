"""Tests of the profile `habits`: what engines and images rely on beside the specification."""
