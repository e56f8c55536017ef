from tests.unit.app.test_revisions import *  # noqa: F403
