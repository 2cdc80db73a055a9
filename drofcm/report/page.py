"""One HTML file that needs no other file, no server and no network: template, Bokeh figures inline, written whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.models import Model
from bokeh.resources import Resources

from drofcm.core.files import whole_file

__all__ = ["write_page"]


def write_page(path: Path, template: str, title: str, models: Sequence[Model], context: Mapping[str, Any]) -> None:
    """Draw a page and write it; the file appears under its name only when it is complete.

    Parameters
    ----------
    path
        The file to write; its folder exists.
    template
        File name of the template beside this module.
    title
        Of the window.
    models
        Figures, put where the template names them.
    context
        What else the template asks for.
    """
    page = _drawn(template, title, models, context)
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def _drawn(template: str, title: str, models: Sequence[Model], context: Mapping[str, Any]) -> str:
    document = Document()
    # otherwise every root added walks through all models again
    with document.models.freeze():
        for model in models:
            document.add_root(model)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("drofcm.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page: str = file_html(
        document,
        resources=Resources(mode="inline"),
        title=title,
        template=environment.get_template(template),
        template_variables=dict(context),
    )
    return page
