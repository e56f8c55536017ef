from tests.unit.app.test_fuzz import *  # noqa: F403
