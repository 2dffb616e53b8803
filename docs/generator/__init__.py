"""The documentation site: the pages of `docs/`, pages generated from the declarations, and checked links.

`python -m docs.generator --out site` builds it (`pip install -e ".[docs]"`). Nothing generated is committed, so that no
page can be out of date.
"""
