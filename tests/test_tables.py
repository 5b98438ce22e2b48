"""Tables: cells to columns, files held to their SHA-256, stand-ins that are always the same."""

import dataclasses
import hashlib

import numpy as np
import pytest

import vae_jax.data as vd
from vae_jax.data import commands, tables
from vae_jax.errors import ENVIRONMENT, Fault

TEXT = '"height";"sex";"age"\n151.5;m;63\n140;f;\n'


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """howell1 as a table of two rows, whose file lies in a folder."""
    sheet = dataclasses.replace(tables.TABLES['howell1'], sha256=hashlib.sha256(TEXT.encode()).hexdigest())
    monkeypatch.setitem(tables.TABLES, 'howell1', sheet)
    (tmp_path / 'raw/tabular').mkdir(parents=True)
    (tmp_path / 'raw/tabular/howell1.csv').write_text(TEXT)
    return tmp_path


def test_cells_become_numbers_where_all_of_a_column_are():
    columns = tables.parsed(TEXT, ';')
    np.testing.assert_array_equal(columns['height'], [151.5, 140.0])
    np.testing.assert_array_equal(columns['age'], [63.0, np.nan])
    assert columns['sex'].tolist() == ['m', 'f'] and list(columns) == ['height', 'sex', 'age']


def test_a_table_is_prepared_once_and_read_under_its_checksum(tiny, capsys):
    asked = ['prepare', 'howell1', '--data-dir', str(tiny / 'data')]
    assert commands.command([*asked, '--from', str(tiny / 'raw')]) == 0
    assert capsys.readouterr().out == f'howell1: rows 2; {tiny / "data/tables"}\n'
    assert commands.command(asked) == 0  # it is there
    assert vd.table('howell1', tiny / 'data').columns['height'].tolist() == [151.5, 140.0]
    (tiny / 'data/tables/howell1.csv').write_text(TEXT.replace('63', '64'))
    with pytest.raises(Fault, match='has SHA-256 .* howell1 needs') as fault:
        vd.table('howell1', tiny / 'data')
    assert fault.value.code == ENVIRONMENT


def test_what_is_not_there_is_said_in_one_line(tiny):
    (tiny / 'raw/tabular/howell1.csv').write_text('another file')
    cases = [
        (lambda: vd.table('howell2', tiny), 'howell1'),
        (lambda: vd.table('howell1', tiny), 'prepare howell1 --from DIR'),
        (lambda: tables.prepare_table('howell1', None, tiny), 'where DIR holds howell1.csv'),
        (lambda: tables.prepare_table('howell1', tiny, tiny), 'does not hold howell1.csv'),
        (lambda: tables.prepare_table('howell1', tiny / 'raw', tiny), 'has SHA-256'),
    ]
    for call, said in cases:
        with pytest.raises(Fault) as fault:
            call()
        assert said in str(fault.value) and '\n' not in str(fault.value)
    assert not (tiny / 'tables').exists()


@pytest.mark.parametrize('name', tables.TABLES)
def test_a_stand_in_is_the_same_each_time_and_has_columns_of_one_length(name):
    first, again = vd.table_stand_in(name), vd.table_stand_in(name)
    assert first.stand_in and len({len(column) for column in first.columns.values()}) == 1
    for column, values in first.columns.items():
        np.testing.assert_array_equal(values, again.columns[column])
        assert values.dtype.kind == 'U' or np.isfinite(values).all()
