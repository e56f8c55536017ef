from tests.unit.app.test_scans import *  # noqa: F403
