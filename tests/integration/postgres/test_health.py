from tests.unit.app.test_health import *  # noqa: F403
