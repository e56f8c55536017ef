from tests.unit.app.test_tokens import *  # noqa: F403
