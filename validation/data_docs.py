"""Great Expectations' Data Docs of a contract as one file that opens anywhere, offline.

The engine's own page takes its looks and scripts from eight hosts on the internet, and prints what
a set's author wrote as it came. So its sections stand on a page of ours: no script, nothing
fetched, and the browser is told to allow neither.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.files import write_atomic
from registry.quiet import silence
from validation.expectations import printable

if TYPE_CHECKING:
    from jinja2 import Environment, Template

    from validation.expectations import ContractReport

PAGE_NAME = "data-docs.html"
_VALUES_SHOWN = 20


def write_data_docs(report: ContractReport, folder: Path) -> Path:
    """Write the page of `report` below `folder`; returns its path.

    A report that was read back from a file has no engine's results, and shows its outcomes only.
    Raises PermanentEngineError when the disk refuses.
    """
    path = folder / PAGE_NAME
    write_atomic(path, render_data_docs(report).encode())
    return path


def render_data_docs(report: ContractReport) -> str:
    """The page as HTML."""
    sections = [section for result in report.validations for section in _sections(result)]
    return str(_template().render(sections=sections, report=report))


def _template() -> Template:
    """A page of ours that may include the engine's own templates of sections and tables."""
    silence()
    from great_expectations.render.view.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, FileSystemLoader

    environment: Environment = DefaultJinjaPageView().env
    own = FileSystemLoader(Path(__file__).parent / "templates")
    environment.filters["printable"] = printable
    engines = environment.loader
    environment.loader = ChoiceLoader([own, engines] if engines else [own])
    return environment.get_template("contract.jinja")


def _sections(result: Any) -> list[dict[str, Any]]:
    """The engine's sections of one table, without its overview, which the page has already."""
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    escaped = ExpectationSuiteValidationResult(
        success=result.success,
        results=[_bounded(one) for one in result.results],
        suite_name=result.suite_name,
        statistics=result.statistics,
        meta={},
    )
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(escaped).to_json_dict()
    return [
        section
        for section in document["sections"]
        if section.get("section_name") not in {"Overview", "Run Info"}
    ]


def _bounded(result: Any) -> Any:
    """A copy with the first values only, all text safe inside HTML."""
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    config = result.expectation_config
    found = {
        key: value[:_VALUES_SHOWN] if isinstance(value, list) else value
        for key, value in result.result.items()
    }
    return ExpectationValidationResult(
        success=result.success,
        expectation_config=ExpectationConfiguration(
            type=config.type,
            kwargs=_escaped(config.kwargs),
            meta={},
            description=_escaped(config.description),
        ),
        result=_escaped(found),
        exception_info=_escaped(result.exception_info),
        meta={},
    )


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(printable(value))
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(item) for item in value]
    return value
