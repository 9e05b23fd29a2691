"""What a file is, told by its content: a name says what somebody wants it to be."""

from __future__ import annotations

from dataclasses import dataclass, field

TAKEN = "JPEG, PNG and GIF; MP4, MOV, AVI and WebM; MP3, M4A, AAC, OGG and WAV; PDF, Word, Excel and PowerPoint"

_STARTS = (
    (b"\xff\xd8\xff", "image", "image/jpeg", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", "image", "image/png", ".png"),
    (b"GIF87a", "image", "image/gif", ".gif"),
    (b"GIF89a", "image", "image/gif", ".gif"),
    (b"\x1aE\xdf\xa3", "video", "video/webm", ".webm"),
    (b"OggS", "audio", "audio/ogg", ".ogg"),
    (b"ID3", "audio", "audio/mpeg", ".mp3"),
    (b"\xff\xfb", "audio", "audio/mpeg", ".mp3"),
    (b"\xff\xf3", "audio", "audio/mpeg", ".mp3"),
    (b"\xff\xf2", "audio", "audio/mpeg", ".mp3"),
    (b"\xff\xf1", "audio", "audio/aac", ".aac"),
    (b"\xff\xf9", "audio", "audio/aac", ".aac"),
    (b"%PDF-", "file", "application/pdf", ".pdf"),
)
_IN_RIFF = {b"WAVE": ("audio", "audio/wav", ".wav"), b"AVI ": ("video", "video/x-msvideo", ".avi")}
# Of the many brands of ISO base media, those of sounds and videos; HEIC and AVIF pictures are brands too.
_IN_MP4 = {
    b"M4A ": ("audio", "audio/mp4", ".m4a"),
    b"qt  ": ("video", "video/quicktime", ".mov"),
    **dict.fromkeys(
        (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"dash", b"3gp4", b"3gp5"),
        ("video", "video/mp4", ".mp4"),
    ),
}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_IN_ZIP = (
    (b"word/document.xml", f"{_OFFICE}wordprocessingml.document", ".docx"),
    (b"xl/workbook.xml", f"{_OFFICE}spreadsheetml.sheet", ".xlsx"),
    (b"ppt/presentation.xml", f"{_OFFICE}presentationml.presentation", ".pptx"),
)
_DIRECTORY_BYTES = 128 * 1024  # at the end of an archive: the names in it


@dataclass(frozen=True)
class Media:
    """A file that Messenger may take.

    Args:
        kind: ``image``, ``audio``, ``video`` or ``file``: the attachment's type.
        media_type: MIME.
        suffix: of a name that fits.
        content: the bytes.
    """

    kind: str
    media_type: str
    suffix: str
    content: bytes = field(repr=False)


def read_media(content: bytes) -> Media | None:
    """Tell by the first bytes what a file is.

    Args:
        content: the whole of it.

    Returns:
        None: nothing of what ``TAKEN`` names. A page or a program under a picture's name is none of it.
    """
    for start, kind, media_type, suffix in _STARTS:
        if content.startswith(start):
            return Media(kind, media_type, suffix, content)
    found = None
    if content[:4] == b"RIFF":
        found = _IN_RIFF.get(content[8:12])
    elif content[4:8] == b"ftyp":
        found = _IN_MP4.get(content[8:12])
    elif content[:4] == b"PK\x03\x04":
        names = content[-_DIRECTORY_BYTES:]
        found = next((("file", media_type, suffix) for name, media_type, suffix in _IN_ZIP if name in names), None)
    return None if found is None else Media(*found, content)
