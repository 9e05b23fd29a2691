"""The Graph API as far as Messenger needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.batch import answer_batch
from sandbox.faults import strike
from sandbox.model import FIELDS, Page
from sandbox.refusal import Answer, GraphRefusal, bad_parameter, unknown_object
from sandbox.request import Params, Request, read_body, read_form, split_path
from sandbox.send import AILMENTS, SendApi
from sandbox.wire import graph_json

PROFILE_FIELDS = "first_name,last_name,profile_pic"
ATTACHMENT_MOST = 25 * 1024 * 1024  # Meta docs, Send API reference
NO_PROFILE = {2018247: "Insufficient permission to access user profile."}
BEARER = ("bearer ", "oauth ")


class Graph:
    """Answers calls of the Graph API.

    Args:
        send_api: the Send API behind ``/messages``.
    """

    def __init__(self, send_api: SendApi) -> None:
        self.send_api = send_api
        self.world = send_api.world
        self._edges: dict[tuple[str, str], Callable[[Request, Page], Any]] = {
            ("GET", "subscribed_apps"): self._subscribed_apps,
            ("POST", "subscribed_apps"): self._subscribe,
            ("DELETE", "subscribed_apps"): self._unsubscribe,
            ("GET", "messaging_feature_review"): self._feature_review,
            ("POST", "message_attachments"): self._attach,
        }

    def call(self, method: str, path: str, query: str, headers: dict[bytes, bytes], body: bytes) -> Answer:
        """Answer one HTTP call.

        Args:
            method: HTTP method.
            path: path of the URL, percent-encoded.
            query: its query, percent-encoded.
            headers: lowercase names.
            body: raw body.
        """
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        scheme = next((scheme for scheme in BEARER if authorization.lower().startswith(scheme)), None)
        bearer = authorization[len(scheme) :].strip() if scheme else None
        try:
            params = read_form(query) if query else {}
            params.update(read_body(headers.get(b"content-type", b"").decode("latin-1"), body))
            node, edge = split_path(path)
            method = str(params.get("method", method)).upper() if method == "POST" else method
            request = Request(method, node, edge, params, bearer)
            if method == "POST" and not edge and "batch" in params:
                return answer_batch(request, self.item, self.send_api.page)
        except GraphRefusal as refusal:
            return refusal.answer()
        return self.answer(request)

    def item(self, method: str, relative_url: str, body: str, access_token: str, proof: str | None) -> Answer:
        """Answer one item of a batch; its own access token comes before that of the batch."""
        path, _, query = relative_url.partition("?")
        params: Params = read_form(query) if query else {}
        if body:
            params.update(read_form(body))
        if "access_token" not in params:
            params["access_token"] = access_token
            if proof is not None:
                params.setdefault("appsecret_proof", proof)
        node, edge = split_path(path)
        return self.answer(Request(method, node, edge, params))

    def answer(self, request: Request) -> Answer:
        """Answer one call which is no batch."""
        if request.edge == "messages" and request.method == "POST":
            return self.send_api.send(request)
        name = request.edge or ("me" if request.node in {"me", *self.world.pages} else "profile")
        caller = self.world.page_of_token.get(request.access_token() or "")
        fault = self.send_api.faults.draw(caller.page_id if caller else None, request.node, None, name)
        if fault is not None and caller is not None:
            self.send_api.ail(fault, caller, request.node)
        answer = self._answer(request, counts=name == "profile")
        return answer if fault is None or fault.kind in AILMENTS else strike(fault, answer, sent=True)

    def _answer(self, request: Request, *, counts: bool) -> Answer:
        try:
            page = self.send_api.page(request)
            quota, meter = self.world.quota(page), self.send_api.meters[page.page_id]
            if counts:
                meter.call(page, quota)
            value = self._read(request, page) if not request.edge else self._edge(request, page)
        except GraphRefusal as refusal:
            return refusal.answer()
        return Answer(200, graph_json(value), meter.headers(page, quota))

    def _edge(self, request: Request, page: Page) -> Any:
        if (request.method, request.edge) == ("GET", "ids_for_pages"):
            return self._ids_for_pages(request)
        if request.node not in {"me", page.page_id}:
            raise unknown_object(request.node, request.method)
        found = self._edges.get((request.method, request.edge))
        if found is None:
            raise GraphRefusal(2500, f"Unknown path components: /{request.edge}")
        return found(request, page)

    def _read(self, request: Request, page: Page) -> Any:
        if request.method != "GET":
            raise unknown_object(request.node, request.method)
        if request.node in {"me", page.page_id}:
            return {"name": page.name, "id": page.page_id}
        person = self.world.people.get(request.node)
        if person is None:
            raise unknown_object(request.node, "GET")
        if person.page_id != page.page_id:
            raise bad_parameter("No matching user found", 2018001)
        if "error_code" in person.profile or "error_subcode" in person.profile:
            raise _no_profile(person.profile)
        if not person.profile:
            return {}
        fields = str(request.params.get("fields", PROFILE_FIELDS)).split(",")
        shown = {field.strip(): person.profile[field.strip()] for field in fields if field.strip() in person.profile}
        return {**shown, "id": person.psid}

    def _ids_for_pages(self, request: Request) -> Any:
        """Tell the PSIDs of a person of Facebook Login (Meta docs, ID Matching API)."""
        psids = self.world.app_scoped.get(request.node)
        if psids is None:
            raise unknown_object(request.node, "GET")
        wanted = request.params.get("page")
        pages = [(psid, self.world.pages[self.world.people[psid].page_id]) for psid in psids]
        rows = [
            {"id": psid, "page": {"name": page.name, "id": page.page_id}}
            for psid, page in pages
            if wanted in {None, page.page_id}
        ]
        return {"data": rows}

    def _subscribed_apps(self, _request: Request, page: Page) -> Any:
        if not page.subscribed_fields:
            return {"data": []}
        app = {"id": page.app_id, "name": page.app_name, "subscribed_fields": page.subscribed_fields}
        return {"data": [app]}

    def _subscribe(self, request: Request, page: Page) -> Any:
        given = request.params.get("subscribed_fields", "")
        text = given if isinstance(given, str) else ",".join(map(str, given)) if isinstance(given, list) else ""
        fields = [field.strip(" \"'") for field in text.strip("[] ").split(",")]
        for field in fields:
            if field not in FIELDS:
                raise bad_parameter(
                    f"Param subscribed_fields[0] must be one of {{{', '.join(FIELDS)}}} - got {field!r}."
                )
        self.world.change_page(page, subscribed_fields=fields)
        return {"success": True}

    def _unsubscribe(self, _request: Request, page: Page) -> Any:
        self.world.change_page(page, subscribed_fields=[])
        return {"success": True}

    def _feature_review(self, _request: Request, page: Page) -> Any:
        return {"data": [{"feature": name, "status": status} for name, status in page.features.items()]}

    def _attach(self, request: Request, page: Page) -> Any:
        attachment = request.structure("message").get("attachment")
        kind = attachment.get("type") if isinstance(attachment, dict) else None
        if not isinstance(attachment, dict) or kind not in {"image", "audio", "video", "file"}:
            raise bad_parameter("Param message[attachment][type] must be one of {AUDIO, FILE, IMAGE, VIDEO}")
        payload = attachment.get("payload")
        url = str(payload.get("url", "")) if isinstance(payload, dict) else ""
        file = request.params.get("filedata")
        if isinstance(file, dict):
            if file["size"] > ATTACHMENT_MOST:
                raise bad_parameter("Attachment size exceeds allowable limit", 2018109)
        elif not url.startswith(("http://", "https://")):
            raise bad_parameter("Failed to fetch the file from the url", 2018008)
        attachment_id = self.world.new_number(16)
        self.world.write("attachment", attachment_id, page.page_id, str(kind))
        return {"attachment_id": attachment_id}


def _no_profile(profile: dict[str, Any]) -> GraphRefusal:
    code, subcode = int(profile.get("error_code", 100)), profile.get("error_subcode")
    text = f"(#{code}) {NO_PROFILE.get(int(subcode or code), 'No profile available for this user.')}"
    return GraphRefusal(code, text, subcode=None if subcode is None else int(subcode))
