"""The rows of tests/mutations.py fit the code; that each mistake is seen is what its command tells."""

import re

import pytest

from tests import mutations
from tests.seeded import core

ROOT = mutations.ROOT


def test_every_row_fits_one_place_and_a_test_that_is_there():
    rows = mutations.rows()
    assert len(rows) >= 36 and len(set(rows)) == len(rows)
    for row in rows:
        assert (ROOT / row.file).read_text().count(row.old) == 1, (row.file, row.old)
        assert row.new != row.old
        file, _, name = row.test.partition('::')
        named = re.search(rf'def {name.partition("[")[0]}\b', (ROOT / file).read_text())
        assert named, row.test


@pytest.mark.slow
def test_a_mistake_is_seen_and_undone_and_no_mistake_is_not(tmp_path):
    row = core.MUTATIONS[0]
    folder = mutations.copied(tmp_path)
    assert mutations.code_of(folder, row.test) == 0
    before = (folder / row.file).read_text()
    assert mutations.is_seen(folder, row) and (folder / row.file).read_text() == before
    assert not mutations.is_seen(folder, row._replace(new=row.old + ' '))
    with pytest.raises(ValueError, match='0 times'):
        mutations.is_seen(folder, row._replace(old='what is not there'))
