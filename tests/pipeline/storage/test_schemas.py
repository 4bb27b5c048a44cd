import pyarrow as pa
import pytest

from pipeline.storage.schemas import ORIGIN
from pipeline.storage.tables import EVALUATION_TABLES, REJECTED_SCHEMA, SCHEMAS, TRAINING_TABLES, VALIDATION_SCHEMA
from tests.tables_page import PAGE, page

ALL = SCHEMAS | {"rejected": REJECTED_SCHEMA, "validation": VALIDATION_SCHEMA}


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "run python -m tests.tables_page"


def test_every_table_begins_with_its_origin():
    assert set(SCHEMAS) == {*EVALUATION_TABLES, *TRAINING_TABLES, "seeds"}
    assert all(schema.names[: len(ORIGIN)] == list(ORIGIN) for schema in SCHEMAS.values())


@pytest.mark.parametrize("name", ALL)
def test_every_column_is_described_and_numbers_have_a_unit(name):
    for field in ALL[name]:
        assert len(field.metadata[b"description"]) > 5
        kind = field.type.value_type if pa.types.is_list(field.type) else field.type
        if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and field.name != "schema_version":
            assert field.metadata[b"unit"]
