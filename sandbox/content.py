"""What may be in a message, and its limits (Meta docs, Send API reference)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.refusal import bad_parameter

TEXT_BELOW = 2000
METADATA_BELOW = 1000
PAYLOAD_MOST = 1000
URL_MOST = 2000
QUICK_REPLIES_MOST = 13
ELEMENTS_MOST = 10
BUTTONS_MOST = 3
TITLE_MOST = 80
LABEL_MOST = 20
BUTTON_TEXT_MOST = 640
OTN_TITLE_MOST = 65

MESSAGE_KEYS = {"text", "attachment", "quick_replies", "metadata", "reply_to"}
MEDIA = {"image", "audio", "video", "file"}
BUTTON_LIMITS = {"title": LABEL_MOST, "payload": PAYLOAD_MOST, "url": URL_MOST}
BUTTONS: dict[str, tuple[str, ...]] = {
    "web_url": ("url", "title"),
    "postback": ("title", "payload"),
    "phone_number": ("title", "payload"),
    "account_link": ("url",),
    "account_unlink": (),
    "game_play": ("title",),
}

Object = dict[str, Any]


def check_message(message: Object, owns: Callable[[str], bool]) -> str:
    """Return the kind of a message: ``text``, a kind of media, or a type of template.

    Args:
        message: the object under ``message``.
        owns: whether an attachment id is the page's own.

    Raises:
        GraphRefusal: The message is none the platform sends.
    """
    for key in message:
        if key not in MESSAGE_KEYS:
            raise bad_parameter(f'Invalid keys "{key}" were found in param "message".')
    _text(message, "metadata", METADATA_BELOW - 1)
    if "quick_replies" in message:
        for reply in _some(message, "quick_replies", QUICK_REPLIES_MOST):
            _quick_reply(reply)
    text, attachment = message.get("text"), message.get("attachment")
    if text is not None and attachment is not None:
        raise bad_parameter("Message cannot contain both text and attachment")
    if attachment is not None:
        return _attachment(attachment, owns)
    _text(message, "text", TEXT_BELOW - 1)
    if not text or not text.strip():
        raise bad_parameter("Message cannot be empty, must provide valid attachment or text", 2018034)
    return "text"


def _attachment(attachment: Any, owns: Callable[[str], bool]) -> str:
    kind = _object(attachment, "message[attachment]").get("type")
    payload = _object(attachment.get("payload"), "message[attachment][payload]")
    if kind in MEDIA:
        _media(payload, owns)
        return str(kind)
    if kind != "template":
        raise bad_parameter("Param message[attachment][type] must be one of {AUDIO, FILE, IMAGE, TEMPLATE, VIDEO}")
    template = payload.get("template_type")
    if not isinstance(template, str) or template not in TEMPLATES:
        raise bad_parameter("Param message[attachment][payload][template_type] is not a valid template type")
    TEMPLATES[template](payload, owns)
    return template


def _media(payload: Object, owns: Callable[[str], bool]) -> None:
    if "attachment_id" in payload:
        _own(payload["attachment_id"], owns)
    elif not str(payload.get("url", "")).startswith(("http://", "https://")):
        raise bad_parameter("Param message[attachment][payload][url] must be a valid URL")


def _own(attachment_id: Any, owns: Callable[[str], bool]) -> None:
    if not owns(str(attachment_id)):
        raise bad_parameter("Invalid or not owned attachment id", 2018074)


def _one_time(payload: Object, _owns: Callable[[str], bool]) -> None:
    for key in payload:
        if key not in {"template_type", "title", "payload"}:
            raise bad_parameter(f'Invalid keys "{key}" were found in param "message[attachment][payload]".')
    _text(payload, "title", OTN_TITLE_MOST, needed=True)
    _text(payload, "payload", PAYLOAD_MOST, needed=True)


def _generic(payload: Object, _owns: Callable[[str], bool]) -> None:
    for element in _some(payload, "elements", ELEMENTS_MOST, least=1):
        _text(_object(element, "elements"), "title", TITLE_MOST, needed=True)
        _text(element, "subtitle", TITLE_MOST)
        _buttons(element)


def _button(payload: Object, _owns: Callable[[str], bool]) -> None:
    _text(payload, "text", BUTTON_TEXT_MOST, needed=True)
    _buttons(payload, least=1)


def _media_template(payload: Object, owns: Callable[[str], bool]) -> None:
    for element in _some(payload, "elements", 1, least=1):
        if _object(element, "elements").get("media_type") not in {"image", "video"}:
            raise bad_parameter("Param elements[media_type] must be one of {IMAGE, VIDEO}")
        _media(element, owns)
        _buttons(element)


def _receipt(payload: Object, _owns: Callable[[str], bool]) -> None:
    for key in ("recipient_name", "order_number", "currency", "payment_method"):
        _text(payload, key, TEXT_BELOW, needed=True)
    if "total_cost" not in _object(payload.get("summary"), "summary"):
        raise bad_parameter("Param summary[total_cost] must be a number")


def _product(payload: Object, _owns: Callable[[str], bool]) -> None:
    for element in _some(payload, "elements", ELEMENTS_MOST, least=1):
        if not str(_object(element, "elements").get("id", "")).isdigit():
            raise bad_parameter("Invalid product id", 2018320)


TEMPLATES: Mapping[str, Callable[[Object, Callable[[str], bool]], None]] = {
    "one_time_notif_req": _one_time,
    "generic": _generic,
    "button": _button,
    "media": _media_template,
    "receipt": _receipt,
    "product": _product,
}


def _quick_reply(reply: Any) -> None:
    kind = _object(reply, "quick_replies").get("content_type")
    if kind == "text":
        _text(reply, "title", LABEL_MOST, needed=True)
        _text(reply, "payload", PAYLOAD_MOST)
    elif kind not in {"user_phone_number", "user_email"}:
        raise bad_parameter("Param quick_replies[content_type] must be one of {TEXT, USER_EMAIL, USER_PHONE_NUMBER}")


def _buttons(holder: Object, least: int = 0) -> None:
    if least == 0 and "buttons" not in holder:
        return
    for button in _some(holder, "buttons", BUTTONS_MOST, least=least):
        needs = BUTTONS.get(str(_object(button, "buttons").get("type")))
        if needs is None:
            raise bad_parameter("Param buttons[type] is not a valid button type")
        for key in needs:
            _text(button, key, BUTTON_LIMITS[key], needed=True)


def _object(value: Any, name: str) -> Object:
    if not isinstance(value, dict):
        raise bad_parameter(f'param "{name}" must be an array.')  # PHP calls both kinds arrays
    return value


def _some(holder: Object, key: str, most: int, *, least: int = 0) -> list[Any]:
    value = holder.get(key)
    if not isinstance(value, list):
        raise bad_parameter(f'param "{key}" must be an array.')
    if not least <= len(value) <= most:
        raise bad_parameter(f"param {key} must have between {least} and {most} items")
    return value


def _text(holder: Object, key: str, most: int, *, needed: bool = False) -> None:
    value = holder.get(key)
    if value is None and not needed:
        return
    if not isinstance(value, str):
        raise bad_parameter(f'param "{key}" must be a string.')
    if needed and not value:
        raise bad_parameter(f'param "{key}" must be non-empty.')
    if len(value) > most:
        raise bad_parameter(f"Length of param {key} must be less than or equal to {most}")
