"""JUnit XML that CI systems read: its shape, and that nothing bad is green."""

from __future__ import annotations

import pytest
from lxml import etree

from validation.evidence import Check, GateReport
from validation.junit import Judged, junit_document, junit_xml
from validation.verdict import Verdict

from .reports import REPORT, with_verdict

# What Jenkins' xUnit plugin takes as JUnit (its junit-10.xsd), as far as a gate could use it.
SCHEMA = etree.XMLSchema(
    etree.XML("""
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:complexType name="found" mixed="true">
    <xs:attribute name="type" type="xs:string"/><xs:attribute name="message" type="xs:string"/>
  </xs:complexType>
  <xs:complexType name="properties">
    <xs:sequence>
      <xs:element name="property" minOccurs="0" maxOccurs="unbounded"><xs:complexType>
        <xs:attribute name="name" type="xs:string" use="required"/>
        <xs:attribute name="value" type="xs:string" use="required"/>
      </xs:complexType></xs:element>
    </xs:sequence>
  </xs:complexType>
  <xs:complexType name="testcase">
    <xs:choice minOccurs="0" maxOccurs="unbounded">
      <xs:element name="skipped" type="found"/><xs:element name="error" type="found"/>
      <xs:element name="failure" type="found"/>
      <xs:element name="system-out" type="xs:string"/>
      <xs:element name="system-err" type="xs:string"/>
    </xs:choice>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="time" type="xs:string"/>
    <xs:attribute name="classname" type="xs:string"/>
    <xs:attribute name="group" type="xs:string"/>
  </xs:complexType>
  <xs:complexType name="testsuite">
    <xs:choice minOccurs="0" maxOccurs="unbounded">
      <xs:element name="properties" type="properties"/>
      <xs:element name="testcase" type="testcase"/>
    </xs:choice>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="tests" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="failures" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="errors" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="skipped" type="xs:nonNegativeInteger"/>
  </xs:complexType>
  <xs:element name="testsuites"><xs:complexType>
    <xs:sequence>
      <xs:element name="testsuite" type="testsuite" minOccurs="0" maxOccurs="unbounded"/>
    </xs:sequence>
    <xs:attribute name="name" type="xs:string"/>
    <xs:attribute name="tests" type="xs:nonNegativeInteger"/>
    <xs:attribute name="failures" type="xs:nonNegativeInteger"/>
    <xs:attribute name="errors" type="xs:nonNegativeInteger"/>
  </xs:complexType></xs:element>
</xs:schema>
""")
)


def parsed(document: str) -> etree._Element:
    root = etree.fromstring(document.encode())
    SCHEMA.assertValid(root)
    return root


def test_a_suite_a_variant_and_a_case_a_check() -> None:
    root = parsed(junit_xml(REPORT, model="speech", variant="onnx-int8"))
    (suite,) = root
    cases = suite.findall("testcase")
    assert suite.get("name") == "speech.onnx-int8"
    assert [case.get("name") for case in cases] == [
        f"{check.name} [{check.slice}]" for check in REPORT.checks
    ]
    assert {case.get("classname") for case in cases} == {"speech.onnx-int8"}
    outcomes = [
        [(child.tag, child.get("type")) for child in case if child.tag != "system-out"]
        for case in cases
    ]
    inconclusive = [("failure", "inconclusive")]
    assert outcomes == [
        *([], [], []),
        inconclusive,
        [("failure", "fail")],
        inconclusive,
        [("error", "error")],
        inconclusive,
    ]
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "8", "failures": "4", "errors": "1", "skipped": "0"}


def test_a_failure_says_why_with_its_numbers() -> None:
    root = parsed(junit_xml(REPORT, model="speech", variant="onnx-int8"))
    failure = root.find(".//failure[@type='fail']")
    assert failure is not None
    assert failure.get("message") == "worse by chrF"
    assert failure.text == ("worse by chrF\nvalue: -2.50\ninterval: -3.50 to -1.50\nlimit: -1.00")


def test_properties_hold_what_identifies_the_evidence() -> None:
    root = parsed(junit_xml(REPORT, model="speech", variant="onnx-int8"))
    found = {item.get("name"): item.get("value") for item in root.iter("property")}
    assert found["dataset_sha256"] == "ab" * 32
    assert found["digest.variant"] == "cd" * 32
    assert found["answers.candidate"] == "12" * 32
    assert found["answers.parent"] == "none"
    assert found["signature.chrf"] == "nrefs:1|version:2.6.0"
    assert (found["seed"], found["verdict"]) == ("1", "fail")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_a_pass_is_green(verdict: Verdict) -> None:
    root = parsed(junit_xml(with_verdict(verdict), model="speech", variant="onnx-int8"))
    red = int(root.get("failures", "0")) + int(root.get("errors", "0"))
    assert (red == 0) == (verdict is Verdict.PASS)


def test_a_report_without_checks_is_an_error() -> None:
    root = parsed(junit_xml(GateReport(Verdict.ERROR, (), {}), model="m", variant="v"))
    assert root.get("errors") == "1"


def test_several_variants_are_one_document() -> None:
    judged = [Judged("speech", name, REPORT) for name in ("onnx-fp32", "onnx-int8")]
    root = parsed(junit_document(judged))
    assert [suite.get("name") for suite in root] == ["speech.onnx-fp32", "speech.onnx-int8"]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("16", "8", "2")


def test_text_that_xml_cannot_hold_is_replaced_and_markup_is_text() -> None:
    hostile = "\x00\x1b[31m<b>&\"'\ud800\uffff ok\n\U0001f600]]>"
    check = Check("wer", f"speaker={hostile}", Verdict.FAIL, hostile)
    root = parsed(junit_xml(GateReport(Verdict.FAIL, (check,), {}), model="m", variant=hostile))
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == "\ufffd\ufffd[31m<b>&\"'\ufffd\ufffd ok\n\U0001f600]]>"


def test_the_same_report_is_the_same_bytes() -> None:
    again = GateReport.from_json(REPORT.to_json())
    first, second = (
        junit_xml(report, model="speech", variant="onnx-int8") for report in (REPORT, again)
    )
    assert first == second
