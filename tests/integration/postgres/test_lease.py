from tests.unit.app.test_lease import *  # noqa: F403
