"""What tests share: looking at cgroups, mounts, namespaces and hooks, and making them."""
