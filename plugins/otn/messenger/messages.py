"""Send API message objects: what may be sent, checked before anybody is promised anything.

Limits are from Meta's Send API reference where it states them (text, metadata, one-time title) and from the template
pages and common practice where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from otn.errors import OtnError
from otn.messenger import wire

# "Less than 2000 characters", inclusive here. The unit is not stated: code points and UTF-16 units both read as
# characters, so the larger count, UTF-16, is the one that is always safe. Bytes would be another limit, no other unit.
TEXT_LIMIT = 1999
METADATA_LIMIT = 999
PAYLOAD_LIMIT = 1000
REQUEST_TITLE_LIMIT = 65
ELEMENTS_LIMIT = 10
RECEIPT_ELEMENTS_LIMIT = 100
ELEMENT_TEXT_LIMIT = 80
BUTTON_TEMPLATE_TEXT_LIMIT = 640
BUTTONS_LIMIT = 3
BUTTON_TITLE_LIMIT = 20
QUICK_REPLIES_LIMIT = 13
QUICK_REPLY_TITLE_LIMIT = 20
URL_LIMIT = 2000
DEPTH_LIMIT = 12
PARTS_LIMIT = 5000
NUMBER_LIMIT = 2**53
# Fifty of them travel in one batch, each encoded twice.
MESSAGE_BYTES_LIMIT = 64 * 1024

_TOP_LEVEL = ("text", "attachment", "quick_replies")
_MEDIA = ("image", "audio", "video", "file")


class MessageError(OtnError):
    """The message is no Send API message object. Compare it with Meta's Send API reference."""

    def __init__(self, where: str, wrong: str, remedy: str) -> None:
        super().__init__(f"{where} {wrong}. {remedy}.")
        self.where = where


class OverLimitError(MessageError):
    """A text of the message is too long. Shorten it."""


def message_text(text: object) -> dict[str, Any]:
    """Return the message object for a text.

    Raises:
        MessageError: It is empty, too long or cannot be written as UTF-8.
    """
    return validate_message({"text": text})


def one_time_request(title: object, payload: object) -> dict[str, Any]:
    """Return the message object that asks for one later message on a topic.

    Source: Meta docs, One-Time Notification. Only title and payload may be set; the rest of the card is Meta's.

    Args:
        title: What it will be about, at most 65 characters.
        payload: Comes back word for word with the token.

    Raises:
        MessageError: One of them is missing or too long.
    """
    _text(title, "title", REQUEST_TITLE_LIMIT)
    _text(payload, "payload", PAYLOAD_LIMIT)
    card = {"template_type": "one_time_notif_req", "title": title, "payload": payload}
    return {"attachment": {"type": "template", "payload": card}}


def validate_message(message: object) -> dict[str, Any]:
    """Check a message object and return a copy of it that shares nothing with what was given.

    Raises:
        MessageError: It cannot be sent; the text says where, what is wrong and what to do.
    """
    copied = copy_message(message)
    if not isinstance(copied, dict):
        raise MessageError("message", "is no object", 'Write it as {"text": "..."} or {"attachment": {...}}')
    size = len(wire.encode(copied))
    if size > MESSAGE_BYTES_LIMIT:
        raise MessageError("message", f"has {size} bytes where {MESSAGE_BYTES_LIMIT} are allowed", "Make it smaller")
    _check_keys(copied)
    if "text" in copied:
        _text(copied["text"], "message.text", TEXT_LIMIT)
    else:
        _check_attachment(_object(copied["attachment"], "message.attachment"))
    if "quick_replies" in copied:
        for where, reply in _list(copied["quick_replies"], "message.quick_replies", QUICK_REPLIES_LIMIT):
            _check_quick_reply(where, reply)
    return copied


def postbacks(message: Mapping[str, Any]) -> list[str]:
    """List what comes back when somebody taps: the payloads of buttons and of quick replies, each once.

    What asks for something else is not among it: the payload of a phone number is called, that of a one-time request
    comes back with a token, and a quick reply for a phone number or an address gives what the person chose.

    Args:
        message: A Send API message object, validated or not; what is malformed offers nothing.
    """
    attachment = _part(message.get("attachment"))
    payload = _part(attachment.get("payload"))
    holders = [payload, *_parts(payload.get("elements"))]
    buttons = [button for holder in holders for button in _parts(holder.get("buttons"))]
    taps = [button.get("payload") for button in buttons if button.get("type") == "postback"]
    replies = _parts(message.get("quick_replies"))
    taps += [reply.get("payload") for reply in replies if reply.get("content_type") == "text"]
    return list(dict.fromkeys(tap for tap in taps if isinstance(tap, str)))


def _part(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _parts(value: Any) -> list[Mapping[str, Any]]:
    return [_part(item) for item in value] if isinstance(value, (list, tuple)) else []


def copy_message(message: object) -> Any:
    """Return a copy that shares nothing with what was given, once it is known to be of a size that can be walked.

    Raises:
        MessageError: It is too deep, has too many parts, or holds what JSON or Postgres cannot.
    """
    return _copy(message, "message", 0, iter(range(PARTS_LIMIT)))


def _check_keys(message: Mapping[str, Any]) -> None:
    if "metadata" in message:
        raise MessageError("message.metadata", "is kept for recognising our own messages", "Leave it out")
    for key in message:
        if key not in _TOP_LEVEL:
            name = key if key.isprintable() and len(key) <= 40 else "..."
            raise MessageError(f"message.{name}", "is not known", f"Use only {', '.join(_TOP_LEVEL)}")
    if ("text" in message) == ("attachment" in message):
        found = "both text and attachment" if "text" in message else "neither text nor attachment"
        raise MessageError("message", f"holds {found}", "Give exactly one of the two")


def _copy(value: object, where: str, depth: int, budget: Iterator[int]) -> Any:
    # A YAML file of two hundred bytes can describe a billion parts by naming the same few again and again.
    if next(budget, None) is None:
        raise MessageError("message", f"has more than {PARTS_LIMIT} parts", "Make it smaller")
    if depth > DEPTH_LIMIT:
        raise MessageError(where, f"is nested deeper than {DEPTH_LIMIT} levels", "Make it flatter")
    if isinstance(value, str):
        if not wire.storable(value):
            raise MessageError(where, "holds a NUL or half of a surrogate pair", "Remove that character")
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and wire.storable(key) for key in value):
            raise MessageError(where, "has a key that is no usable text", "Rename or remove it")
        return {key: _copy(item, f"{where}.{key[:40]}", depth + 1, budget) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item, f"{where}[{index}]", depth + 1, budget) for index, item in enumerate(value)]
    return _scalar(value, where)


def _scalar(value: object, where: str) -> object:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, (int, float)):
        wrong = f"is a {type(value).__name__}, which JSON does not know"
        raise MessageError(where, wrong, "Use text, number, list or object")
    if not abs(value) < NUMBER_LIMIT:  # NaN, too, is not less
        raise MessageError(where, "is a number that JSON readers do not agree on", "Write it as text")
    return value


def _check_attachment(attachment: Mapping[str, Any]) -> None:
    kind = _one_of(attachment.get("type"), "message.attachment.type", (*_MEDIA, "template"))
    where = "message.attachment.payload"
    payload = _object(attachment.get("payload"), where)
    if kind != "template":
        _check_source(payload, where)
        return
    template = _one_of(payload.get("template_type"), f"{where}.template_type", tuple(_TEMPLATES))
    _TEMPLATES[template](payload, where)


def _check_source(payload: Mapping[str, Any], where: str) -> None:
    if ("url" in payload) == ("attachment_id" in payload):
        raise MessageError(where, "needs url or attachment_id", "Give exactly one of the two")
    if "url" in payload:
        _url(payload["url"], f"{where}.url")
        return
    attachment_id = _text(payload["attachment_id"], f"{where}.attachment_id", 100)
    if not (attachment_id.isascii() and attachment_id.isalnum()):
        raise MessageError(f"{where}.attachment_id", "is no id", "Take the one the upload gave")


def _check_generic(payload: Mapping[str, Any], where: str) -> None:
    for place, item in _list(payload.get("elements"), f"{where}.elements", ELEMENTS_LIMIT):
        element = _object(item, place)
        _text(element.get("title"), f"{place}.title", ELEMENT_TEXT_LIMIT)
        if "subtitle" in element:
            _text(element["subtitle"], f"{place}.subtitle", ELEMENT_TEXT_LIMIT)
        if "image_url" in element:
            _url(element["image_url"], f"{place}.image_url")
        if "default_action" in element:
            action = _object(element["default_action"], f"{place}.default_action")
            _one_of(action.get("type"), f"{place}.default_action.type", ("web_url",))
            _url(action.get("url"), f"{place}.default_action.url")
        if not element.keys() & {"subtitle", "image_url", "default_action", "buttons"}:
            raise MessageError(place, "has a title only", "Add a subtitle, an image_url or buttons")
        _check_buttons(element, place)


def _check_button_template(payload: Mapping[str, Any], where: str) -> None:
    _text(payload.get("text"), f"{where}.text", BUTTON_TEMPLATE_TEXT_LIMIT)
    _check_buttons({"buttons": payload.get("buttons")}, where)


def _check_media(payload: Mapping[str, Any], where: str) -> None:
    for place, item in _list(payload.get("elements"), f"{where}.elements", 1):
        element = _object(item, place)
        _one_of(element.get("media_type"), f"{place}.media_type", ("image", "video"))
        _check_source(element, place)
        _check_buttons(element, place)


def _check_receipt(payload: Mapping[str, Any], where: str) -> None:
    for key in ("recipient_name", "order_number", "currency", "payment_method"):
        _text(payload.get(key), f"{where}.{key}", PAYLOAD_LIMIT)
    summary = _object(payload.get("summary"), f"{where}.summary")
    total = summary.get("total_cost")
    if isinstance(total, bool) or not isinstance(total, (int, float)):
        raise MessageError(f"{where}.summary.total_cost", "is missing or no number", "Give the total")
    if "elements" in payload:
        for place, item in _list(payload["elements"], f"{where}.elements", RECEIPT_ELEMENTS_LIMIT):
            _text(_object(item, place).get("title"), f"{place}.title", ELEMENT_TEXT_LIMIT)


def _check_product(payload: Mapping[str, Any], where: str) -> None:
    for place, item in _list(payload.get("elements"), f"{where}.elements", ELEMENTS_LIMIT):
        _text(_object(item, place).get("id"), f"{place}.id", 100)


def _check_one_time_request(_payload: Mapping[str, Any], where: str) -> None:
    # It can only go to a person inside the 24 h window; spent on a token it would always be turned down.
    raise MessageError(where, "asks for an opt-in and cannot be sent by campaign", "Ask with otn_ask instead")


_TEMPLATES: Mapping[str, Callable[[Mapping[str, Any], str], None]] = {
    "generic": _check_generic,
    "button": _check_button_template,
    "media": _check_media,
    "receipt": _check_receipt,
    "product": _check_product,
    "one_time_notif_req": _check_one_time_request,
}


def _check_buttons(holder: Mapping[str, Any], where: str) -> None:
    if "buttons" not in holder:
        return
    for place, item in _list(holder["buttons"], f"{where}.buttons", BUTTONS_LIMIT):
        button = _object(item, place)
        kinds = ("web_url", "postback", "phone_number", "account_link", "account_unlink", "game_play")
        kind = _one_of(button.get("type"), f"{place}.type", kinds)
        if kind in {"web_url", "postback", "phone_number", "game_play"}:
            _text(button.get("title"), f"{place}.title", BUTTON_TITLE_LIMIT)
        if kind in {"web_url", "account_link"}:
            _url(button.get("url"), f"{place}.url")
        if kind in {"postback", "phone_number"}:
            _text(button.get("payload"), f"{place}.payload", PAYLOAD_LIMIT)


def _check_quick_reply(where: str, item: Any) -> None:
    reply = _object(item, where)
    kind = _one_of(reply.get("content_type"), f"{where}.content_type", ("text", "user_phone_number", "user_email"))
    if kind == "text":
        _text(reply.get("title"), f"{where}.title", QUICK_REPLY_TITLE_LIMIT)
        _text(reply.get("payload"), f"{where}.payload", PAYLOAD_LIMIT)
    if "image_url" in reply:
        _url(reply["image_url"], f"{where}.image_url")


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MessageError(where, "is missing or no object", "Write it as {...}")
    return value


def _list(value: Any, where: str, limit: int) -> list[tuple[str, Any]]:
    if not isinstance(value, list) or not value:
        raise MessageError(where, "is missing, empty or no list", "Write it as [...] with at least one item")
    if len(value) > limit:
        raise MessageError(where, f"has {len(value)} items where {limit} are allowed", "Remove some")
    return [(f"{where}[{index}]", item) for index, item in enumerate(value)]


def _one_of(value: Any, where: str, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise MessageError(where, "is missing or not known", f"Use one of {', '.join(known)}")
    return value


def _text(value: object, where: str, limit: int) -> str:
    if not isinstance(value, str):
        raise MessageError(where, "is missing or no text", "Write it as text")
    if not value.strip():
        raise MessageError(where, "is empty", "Write something or leave the message out")
    if not wire.storable(value):
        raise MessageError(where, "holds a NUL or half of a surrogate pair", "Remove that character")
    length = len(value.encode("utf-16-le")) // 2
    if length > limit:
        raise OverLimitError(where, f"has {length} characters where {limit} are allowed", "Shorten it")
    return value


def _url(value: object, where: str) -> str:
    url = _text(value, where, URL_LIMIT)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or any(character.isspace() or not character.isprintable() for character in url):
        raise MessageError(where, "is no web address", "Write it as https://...")
    return url
