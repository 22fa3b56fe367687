"""The pages of docs/ that are written from the registries say what the registries say."""

from pathlib import Path

import pytest

from manyshot.docs import benchmarks_page, methods_page
from merging.known_methods import known_methods

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name, write", [("methods.md", methods_page), ("benchmarks.md", benchmarks_page)])
def test_a_page_is_what_make_docs_writes(name, write):
    assert (DOCS / name).read_text(encoding="utf-8") == write(), "run `make docs`"


def test_every_setting_of_every_method_is_described():
    for method in known_methods().values():
        assert all(field.description for field in method.method_class.model_fields.values()), method.name
