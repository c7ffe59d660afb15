"""What stands between the suite and a runtime: bundles, containers, the calls of a runtime, this host, the probe."""
