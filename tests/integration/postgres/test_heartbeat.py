from tests.unit.app.test_heartbeat import *  # noqa: F403
