"""A server on the loopback interface that answers as Google Cloud Storage does, as far as this project's libraries ask it.

TensorFlow's file system and Beam's client know no other host than Google's. Both go through the proxy that the environment
names, and trust the certificates that it names: this server is that proxy, and answers itself what is meant for Google.
Whatever it does not know is noted in `problems`, which must be empty at the end of a test.
"""

import base64
import datetime
import email
import hashlib
import itertools
import json
import re
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

_OBJECT = r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)"
_TOKEN = "token-of-the-test"


@dataclass(frozen=True)
class Object:
    """An object of the bucket; `generation` counts all writes of the server, so that it orders them."""

    data: bytes
    content_type: str
    generation: int
    updated: str


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class StorageServer:
    """What is in the bucket.

    Attributes:
        bucket: its name; there is no other.
        objects: by name; a name that ends with `/` is a marker of a folder.
        history: ("write" | "delete", name) in order.
        problems: what was asked and is not known here.
        page_size: so many objects a page of a list at most.
    """

    bucket: str
    objects: dict[str, Object] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    page_size: int = 1000

    def __post_init__(self):
        self._lock = threading.RLock()
        self._generations = itertools.count(1)
        self._uploads: dict[str, tuple[str, str, bytearray]] = {}

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Reply:
        for verb, pattern, handle in (
            ("GET", r"/state", self._give_state),
            ("POST", r"/(?:oauth2/v[34]/)?token", self._give_token),
            ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)", self._get_bucket),
            ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)/storageLayout", self._get_layout),
            ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o", self._list),
            ("GET", _OBJECT, self._get),
            ("GET", r"/download" + _OBJECT, self._download),
            ("GET", r"/(?P<bucket>(?!storage|download)[^/]+)/(?P<name>.+)", self._download),
            ("DELETE", _OBJECT, self._delete),
            ("POST", _OBJECT + r"/(?:rewriteTo|copyTo)/b/(?P<to>[^/]+)/o/(?P<target>[^/]+)", self._rewrite),
            ("POST", r"/(?:resumable/)?upload/storage/v1/b/(?P<bucket>[^/]+)/o", self._upload),
            ("PUT", r"/(?:resumable/)?upload/storage/v1/b/(?P<bucket>[^/]+)/o", self._continue),
            ("POST", r"/batch/storage/v1", self._answer_batch),
        ):
            if method == verb and (match := re.fullmatch(pattern, path)):
                names = {key: unquote(value) for key, value in match.groupdict().items()}
                if path != "/state" and "token" not in path and headers.get("Authorization") != f"Bearer {_TOKEN}":
                    self.problems.append(f"{method} {path}: without the token")
                if names.pop("bucket", self.bucket) != self.bucket or names.pop("to", self.bucket) != self.bucket:
                    return _fail(404, "The specified bucket does not exist.")
                try:
                    with self._lock:
                        return handle(query=query, headers=headers, body=body, **names)
                except KeyError as error:
                    return _fail(404, f"No such object: {self.bucket}/{error.args[0]}")
        self.problems.append(f"{method} {path}: not known to this server")
        return _fail(400, "not known")

    def _give_state(self, **_):
        return _give({"objects": sorted(self.objects), "history": self.history, "problems": self.problems})

    def _give_token(self, **_):
        return _give({"access_token": _TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def _get_bucket(self, **_):
        return _give({"kind": "storage#bucket", "name": self.bucket, "location": "EU", "projectNumber": "1"})

    def _get_layout(self, **_):
        return _give(
            {"kind": "storage#storageLayout", "bucket": self.bucket, "hierarchicalNamespace": {"enabled": False}}
        )

    def _list(self, query, **_):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        found: dict[str, bool] = {}  # whether it is a prefix
        for name in sorted(self.objects):
            if name.startswith(prefix):
                head, end, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
                found[prefix + head + end if end else name] = bool(end)
        rest = [name for name in found if name > query.get("pageToken", "")]
        page = rest[: min(int(query.get("maxResults", self.page_size)), self.page_size)]
        items = [self._describe(name) for name in page if not found[name]]
        more = {"nextPageToken": page[-1]} if len(rest) > len(page) else {}
        return _give({"kind": "storage#objects", "items": items, "prefixes": [n for n in page if found[n]]} | more)

    def _get(self, name, query, headers, **_):
        if query.get("alt") == "media":
            return self._download(name=name, headers=headers)
        return _give(self._describe(name))

    def _download(self, name, headers, **_):
        data = self.objects[name].data
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range") or "")
        if not asked:
            return Reply(200, data, {"Content-Type": self.objects[name].content_type})
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        if first >= len(data):
            return _fail(416, "The requested range is not satisfiable")
        return Reply(206, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def _delete(self, name, **_):
        del self.objects[name]
        self.history.append(("delete", name))
        return Reply(204)

    def _rewrite(self, name, target, **_):
        source = self.objects[name]
        self._write(target, source.data, source.content_type)
        size = str(len(source.data))
        answer = {"done": True, "totalBytesRewritten": size, "objectSize": size, "resource": self._describe(target)}
        return _give(answer)

    def _upload(self, query, headers, body, **_):
        kind = query.get("uploadType")
        if kind == "media":
            return self._write(query["name"], body, headers.get("Content-Type"))
        if kind == "multipart":
            parts = email.message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
            about, content = parts.get_payload()
            # The content as it was sent: the parser of mails would change line ends.
            start = body.index(b"\r\n\r\n", body.index(b"\r\n\r\n") + 4) + 4
            end = body.rindex(b"\r\n--" + parts.get_boundary().encode())
            name = json.loads(about.get_payload()).get("name") or query["name"]
            return self._write(name, body[start:end], content.get_content_type())
        about = json.loads(body) if body else {}
        content_type = about.get("contentType") or headers.get("X-Upload-Content-Type")
        upload = str(next(self._generations))
        self._uploads[upload] = (about.get("name") or query["name"], content_type, bytearray())
        place = (
            f"https://www.googleapis.com/upload/storage/v1/b/{self.bucket}/o?uploadType=resumable&upload_id={upload}"
        )
        return Reply(200, b"", {"Location": place, "X-GUploader-UploadID": upload})

    def _continue(self, query, headers, body, **_):
        name, content_type, data = self._uploads[query["upload_id"]]
        first, total = re.fullmatch(
            r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", "bytes */*")
        ).groups()
        if first is not None:
            data[int(first) :] = body
        if total == str(len(data)) or "Content-Range" not in headers:
            del self._uploads[query["upload_id"]]
            return self._write(name, bytes(data if "Content-Range" in headers else body), content_type)
        return Reply(308, b"", {"Range": f"bytes=0-{len(data) - 1}"} if data else {})

    def _answer_batch(self, headers, body, **_):
        parts = email.message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        answers = []
        for part in parts.get_payload():
            request, _, rest = part.get_payload().lstrip().partition("\n")
            method, target, *_ = request.split()
            reply = self.answer(method, *split_target(target), headers, rest.partition("\n\n")[2].encode())
            answers.append(
                b"--answer\r\nContent-Type: application/http\r\n\r\n"
                + f"HTTP/1.1 {reply.status} status\r\nContent-Type: application/json\r\n".encode()
                + f"Content-Length: {len(reply.body)}\r\n\r\n".encode()
                + reply.body
                + b"\r\n"
            )
        return Reply(200, b"".join(answers) + b"--answer--", {"Content-Type": "multipart/mixed; boundary=answer"})

    def _write(self, name, data, content_type):
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        kind = content_type or "application/octet-stream"
        self.objects[name] = Object(data, kind, next(self._generations), now)
        self.history.append(("write", name))
        return _give(self._describe(name))

    def _describe(self, name):
        found = self.objects[name]
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{name}/{found.generation}",
            "name": name,
            "bucket": self.bucket,
            "generation": str(found.generation),
            "metageneration": "1",
            "contentType": found.content_type,
            "timeCreated": found.updated,
            "updated": found.updated,
            "size": str(len(found.data)),
            "md5Hash": base64.b64encode(hashlib.md5(found.data, usedforsecurity=False).digest()).decode(),
            "crc32c": base64.b64encode(google_crc32c.Checksum(found.data).digest()).decode(),
        }


def _give(value: Any) -> Reply:
    return Reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _fail(status: int, message: str) -> Reply:
    error = {"error": {"code": status, "message": message, "errors": [{"message": message}]}}
    return Reply(status, json.dumps(error).encode(), {"Content-Type": "application/json"})


def split_target(target: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(target)
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
