"""A table that is kept in a file is read as it was written, or not at all."""

import pyarrow as pa
import pytest

from results.kept_table import read_table, write_table

MADE_OF = {"version": 1}


@pytest.fixture
def table():
    names, values = ["average", "ties"] * 20, [[i / 3, i / 7] for i in range(40)]
    digests, numbers = [f"{i:064x}" for i in range(40)], pa.array(range(40))
    return pa.table({"name": names, "key": digests, "value": values, "n": numbers})


def test_whichever_byte_is_damaged_no_other_table_is_read(table, tmp_path):
    path, columns = tmp_path / "compared/table", table.column_names
    write_table(tmp_path, path, table, MADE_OF)
    assert read_table(path, columns, MADE_OF).equals(table)
    assert read_table(path, columns, MADE_OF, ["value"]).equals(table.select(["value"]))
    assert read_table(path, columns, {"version": 2}) is None
    assert read_table(path, [*columns, "more"], MADE_OF) is None
    whole, refused = path.read_bytes(), 0
    for place in range(len(whole)):
        for bits in (0x01, 0x15, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
            found = read_table(path, columns, MADE_OF)
            assert found is None or found.equals(table), (place, bits)
            one = read_table(path, columns, MADE_OF, ["value"])
            assert one is None or one.equals(table.select(["value"])), (place, bits)
            refused += found is None
    assert refused > 3 * len(whole) / 2
