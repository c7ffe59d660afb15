"""oci-conformance: validates an OCI runtime, as a black box, against the runtime specification."""

__version__ = "0.1.0"
