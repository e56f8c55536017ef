from tests.unit.app.test_portfolio import *  # noqa: F403
