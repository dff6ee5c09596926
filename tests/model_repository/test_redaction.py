"""What is taken out of a text and what is left alone, by a corpus of each."""

from __future__ import annotations

import time

import pytest

from model_repository.programs.common.redaction import LONGEST_CHARS, redact

FOUND = {
    "EMAIL_ADDRESS": (
        "write to anna.berg+news@example.co.uk today",
        "mail: o'neil_7@mail.example.com.",
        "it is nguyen van a@example.vn",
        "my address is anna at example dot com thank you",
        "gửi cho lan a còng gmail chấm com nhé",
    ),
    "URL": (
        "see https://example.com/a?b=c#d now",
        "go to www.example.org/login please",
        "it stands on docs.example.com/private/7",
        "ftp://files.example.net/x",
    ),
    "IBAN_CODE": (
        "pay to GB82 WEST 1234 5698 7654 32 please",
        "DE89370400440532013000",
        "konto PL61 1090 1014 0000 0712 1981 2874",
        "fr14 2004 1010 0505 0001 3m02 606",
    ),
    "CREDIT_CARD": (
        "card 4111 1111 1111 1111 until may",
        "5500-0000-0000-0004",
        "378282246310005 is an amex",
        "6011000990139424, thanks",
    ),
    "IP_ADDRESS": (
        "from 192.168.17.44 at noon",
        "server 2001:db8:85a3::8a2e:370:7334 fell",
        "fe80::1ff:fe23:4567:890a",
        "it was 8.8.4.4.",
    ),
    "US_SSN": ("my social is 078-05-1120", "219 09 9999 is hers"),
    "UK_NINO": ("her number is QQ 12 34 56 C? no, AB 12 34 56 C", "JG103759A"),
    "ES_NIF": ("mi DNI es 12345678Z", "NIE X1234567L"),
    "IT_FISCAL_CODE": ("codice RSSMRA85T10A562S grazie",),
    "SG_NRIC_FIN": ("his NRIC S1234567D",),
    "PL_PESEL": ("PESEL 44051401359",),
    "UK_NHS": ("nhs number 943 476 5919",),
    "IN_AADHAAR": ("aadhaar 2341 2341 2346",),
    "VN_NATIONAL_ID": (
        "số căn cước công dân 001099012345",
        "CCCD: 079 203 001 234",
        "CMND 012345678",
        "chứng minh nhân dân 271234567 cấp năm 2010",
    ),
    "PHONE_NUMBER": (
        "gọi 0912 345 678 nhé",
        "số của tôi là 0387654321",
        "+84 90 123 45 67",
        "(024) 3825 1234 là văn phòng",
        "84 912 345 678",
        "call +44 20 7946 0958 at six",
        "ring 020 7946 0958",
        "it is (212) 555-0123, ask for Bob",
        "415-555-0132",
        "0049 30 901820",
        "appelez le 01 42 68 53 00",
    ),
    "SPOKEN_NUMBER": (
        "my number is zero nine one two three four five six seven eight thanks",
        "không chín một hai ba không năm sáu bảy chín",
        "oh seven double nine five one one three four",
        "card four one one one, one one one two, three",
    ),
}
BENIGN = (
    "bin blue at f two now",
    "place green by z zero again please",
    "set white with p nine soon",
    "there were 1,234,567 requests and 12,345,678.90 dollars",
    "the meeting is on 2026-11-21 at 14:30:45",
    "born 01.02.1990, married 12/05/2018 and 3-4-2020",
    "21 11 2026 was a saturday",
    "count one two three four five six seven eight nine ten",
    "seven six five four three two one zero lift off",
    "một hai ba bốn năm sáu bảy tám chín",
    "một hai ba bốn năm",
    "version 3.11.4 of python and 10.2 of the other",
    "page 120 of 4500, line 33",
    "it took 0.123456789 s, 99.9999 percent of 1e-9",
    "pi is 3.14159265358979",
    "order 4111 1111 1111 1112 is no card",
    "GB82 WEST 1234 5698 7654 33 is no account",
    "room 12:30:45 to 13:00:00",
    "tỷ giá 25.345 đồng, năm 2026 có 365 ngày",
    "giá 1.250.000 đồng",
    "ratio 16:9 and 4:3, score 3-2, 24/7",
    "chapters 01 02 03 04 05 06",
    "i.e. the end. In the beginning. No. 5",
    "we met at the dot of noon",
    "the year 1999 and 2000 and 2001 and 2002",
    "12 34 56 78",
    "temperatures -12 -3 4 15 21",
    "room 101, building 7, floor 3, 555",
    "std::vector and a::b",
    "sha 0123abcd is short",
    "he said no no no no no no no",
    "",
)


@pytest.mark.parametrize(
    ("entity", "text"), [(entity, text) for entity, texts in FOUND.items() for text in texts]
)
def test_what_is_somebodys_is_taken_out(entity: str, text: str) -> None:
    found = redact(text)
    assert found.counts == {entity: 1}
    assert found.text.count(f"<{entity}>") == 1
    before, after = found.text.split(f"<{entity}>")
    assert text.startswith(before)
    assert text.endswith(after)


@pytest.mark.parametrize("text", BENIGN)
def test_what_is_nobodys_stays(text: str) -> None:
    found = redact(text)
    assert (found.text, found.counts) == (text, {})


def test_several_in_one_text_are_counted_by_entity() -> None:
    found = redact("a@example.com or b@example.com, +44 20 7946 0958; card 4111111111111111")
    assert found.text == ("<EMAIL_ADDRESS> or <EMAIL_ADDRESS>, <PHONE_NUMBER>; card <CREDIT_CARD>")
    assert found.counts == {"CREDIT_CARD": 1, "EMAIL_ADDRESS": 2, "PHONE_NUMBER": 1}


def test_a_wrong_check_digit_is_no_account_and_no_card() -> None:
    for text in ("DE88370400440532013000", "4111111111111112", "12345678A", "44051401358"):
        assert redact(text).text == text


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="characters"):
        redact("a" * (LONGEST_CHARS + 1))


@pytest.mark.parametrize(
    "unit", ["1 ", "a.", "1.", "(0", "a@", "+1-", "x:", "GB82 ", "double one "]
)
def test_time_does_not_explode(unit: str) -> None:
    """Each of the patterns' own beginnings, over and over: 0.3 s at most were measured."""
    text = unit * (LONGEST_CHARS // len(unit))
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 5
