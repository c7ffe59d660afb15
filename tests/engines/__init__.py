"""Tests with real engines (podman, docker) that call the runtime as they do in production."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.behaviour")
