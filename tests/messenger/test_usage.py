from __future__ import annotations

import pytest
from requests.structures import CaseInsensitiveDict

from otn.messenger.usage import Usage, read_usage

PAGE = "1122334455"


def read(**headers):
    return read_usage(CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()}), PAGE)


def test_absence_is_normal():
    assert read() is None


def test_the_highest_figure_counts():
    app = '{"call_count":28,"total_time":25,"total_cputime":26}'
    assert read(X_App_Usage=app) == Usage(28, 0)
    assert read(x_app_usage=app, X_Page_Usage='{"call_count":3,"total_time":90,"total_cputime":1}') == Usage(90, 0)


def test_documented_business_header():
    header = (
        '{"1122334455":[{"type":"messenger","call_count":100,"total_cputime":25,"total_time":25,'
        '"estimated_time_to_regain_access":19}]}'
    )
    assert read(X_Business_Use_Case_Usage=header) == Usage(100, 19)


def test_other_pages_and_other_products_do_not_brake_this_one():
    header = (
        '{"other":[{"type":"messenger","call_count":100,"estimated_time_to_regain_access":60}],'
        '"1122334455":[{"type":"pages","call_count":7},{"type":"ads_management","call_count":99}]}'
    )
    assert read(X_Business_Use_Case_Usage=header) == Usage(7, 0)


def test_an_unnamed_object_counts_where_ours_is_not_named():
    header = '{"business":[{"type":"messenger","call_count":50,"estimated_time_to_regain_access":2}]}'
    assert read(X_Business_Use_Case_Usage=header) == Usage(50, 2)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        "{",
        "[]",
        "5",
        "null",
        "[" * 50000,
        '{"call_count":"many"}',
        '{"call_count":true}',
        '{"call_count":-1}',
        '{"call_count":NaN}',
        '{"call_count":1e999}',
        '{"call_count":' + "9" * 6000 + "}",
        '{"1122334455":{"call_count":5}}',
        '{"1122334455":[5,null,[]]}',
        '{"1122334455":[{"type":[]}]}',
    ],
)
def test_malformed_headers_are_ignored(header):
    assert read(X_App_Usage=header, X_Page_Usage=header, X_Business_Use_Case_Usage=header) is None


def test_an_absurd_wait_is_cut_to_a_week():
    header = '{"1122334455":[{"type":"messenger","estimated_time_to_regain_access":99999999}]}'
    assert read(X_Business_Use_Case_Usage=header) == Usage(0, 10_080)
