"""Secrets are not seen."""

import copy
import logging
import pickle
import traceback

import cloudpickle
import msgspec
import pytest

from arraylake_core import Secret, models, options

CANARY = "CANARY-5f3a9c"


def test_p10_a_secret_shows_as_stars_in_every_form_of_text(caplog):
    secret = Secret(CANARY)
    logging.getLogger("anyone").warning("%s %r", secret, {"key": secret})
    forms = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}", "%s" % secret, caplog.text]
    forms += [repr([secret]), repr({"a": {"b": secret}}), models.encode_json({"a": {"bC": secret}}).decode()]
    assert not [form for form in forms if CANARY in form]
    assert all("***" in form for form in forms)


def test_p10_a_traceback_with_locals_shows_no_secret():
    def fails(secret: Secret) -> None:
        raise RuntimeError("no")

    try:
        fails(Secret(CANARY))
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "secret = " in shown
    assert CANARY not in shown


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps, copy.deepcopy])
def test_p11_a_secret_refuses_to_be_pickled(dumps):
    with pytest.raises(TypeError, match="never pickled"):
        dumps(Secret(CANARY))


def test_p10_msgspec_alone_can_not_encode_a_secret():
    with pytest.raises(TypeError):
        msgspec.json.encode({"key": Secret(CANARY)})


def test_a_wrong_option_is_named_without_its_value():
    class Keys(msgspec.Struct):
        secret_access_key: Secret

    for wrong in ({"secret_acces_key": CANARY}, {"secret_access_key": {"nested": CANARY}}, {"secret_access_key": [CANARY]}):
        with pytest.raises(ValueError, match="secret_acces") as caught:
            options.decode_struct(Keys, wrong, "test")
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_equal_secrets_are_equal_and_others_not():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
