from tests.unit.app.test_access import *  # noqa: F403
