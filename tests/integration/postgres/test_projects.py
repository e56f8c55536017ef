from tests.unit.app.test_projects import *  # noqa: F403
