"""A gate's report as JUnit XML, which every CI system shows: one suite a variant, one case a check.

What was not shown to be good is not green: an inconclusive check is a failure of the type
"inconclusive". Nothing here depends on a clock, so the same report is the same bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from validation.report_numbers import interval, of_check
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from validation.evidence import Check, GateReport

# All that XML 1.0 does not allow, even as a reference (https://www.w3.org/TR/xml/#charsets).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Judged:
    """A variant of a model, and its report."""

    model: str
    variant: str
    report: GateReport


def junit_xml(report: GateReport, *, model: str, variant: str) -> str:
    """The report as a whole JUnit document, as `junit_document`."""
    return junit_document([Judged(model, variant, report)])


def junit_document(judged: Iterable[Judged]) -> str:
    """Several reports as one JUnit document, a suite each, in the shape of Jenkins' junit-10.xsd.

    Fail is `failure` of type "fail", Inconclusive `failure` of type "inconclusive", Error is
    `error`. A report that did not pass always has a case that is not green. Characters that XML
    cannot hold become U+FFFD.
    """
    root = Element("testsuites", name="sluice gate")
    for one in judged:
        root.append(_suite(one))
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    indent(root)
    body = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(judged: Judged) -> Element:
    name = f"{judged.model}.{judged.variant}"
    suite = Element("testsuite", name=_text(name))
    properties = SubElement(suite, "properties")
    for key, value in _properties(judged):
        SubElement(properties, "property", name=_text(key), value=_text(value))
    for check in judged.report.checks:
        _case(suite, name, check)
    if not judged.report.checks:
        case = SubElement(suite, "testcase", name="checks", classname=_text(name))
        SubElement(case, "error", type="error", message="the report holds no check")
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(tag) is not None for case in cases)))
    return suite


def _case(suite: Element, name: str, check: Check) -> None:
    case = SubElement(
        suite, "testcase", name=_text(f"{check.name} [{check.slice}]"), classname=_text(name)
    )
    if check.verdict is Verdict.PASS:
        SubElement(case, "system-out").text = _text(check.reason)
        return
    tag = "error" if check.verdict is Verdict.ERROR else "failure"
    found = SubElement(case, tag, type=check.verdict.label, message=_text(check.reason))
    numbers = (
        ("value", of_check(check, check.value)),
        ("interval", interval(check)),
        ("limit", of_check(check, check.limit)),
    )
    found.text = _text("\n".join([check.reason, *(f"{key}: {value}" for key, value in numbers)]))


def _properties(judged: Judged) -> Iterator[tuple[str, str]]:
    origin = judged.report.provenance
    yield "model", judged.model
    yield "variant", judged.variant
    yield "verdict", judged.report.verdict.label
    for key in ("dataset_sha256", "normaliser", "seed", "confidence"):
        if key in origin:
            yield key, str(origin[key])
    for role, digest in sorted(origin.get("digests", {}).items()):
        yield f"digest.{role}", str(digest)
    for role, digest in sorted(origin.get("answers", {}).items()):
        yield f"answers.{role}", str(digest or "none")
    for metric, signature in sorted(judged.report.signatures.items()):
        yield f"signature.{metric}", signature


def _text(text: str) -> str:
    return _FORBIDDEN.sub(_REPLACEMENT, text)
