"""Start with `python -m oci_conformance`."""

from oci_conformance.main import main

main()
