"""The OCI runtime specification 1.3.0 for Linux as data and code: tables, rules, schema, defaults."""
