import pandas as pd
import pytest

from tests.core.reporting.made_up import results


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """Return made-up results of every variant, in which student_int8 is recommended."""
    return results()
