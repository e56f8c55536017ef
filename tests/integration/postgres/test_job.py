from tests.unit.app.test_job import *  # noqa: F403
