from tests.unit.app.test_system import *  # noqa: F403
