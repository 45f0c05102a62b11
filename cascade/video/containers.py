"""Which container a file is, by its first bytes: FFmpeg is told, and never guesses.

Left to guess, FFmpeg takes a text that begins with `ffconcat` or `#EXTM3U` for a list and opens the files it names.
"""

from __future__ import annotations

# how much of a file tells: three packets of a transport stream with time codes
HEAD_BYTES = 3 * 192
# boxes that an ISO file begins with: QuickTime's have no `ftyp`, fragments none either
BOXES = {b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"sidx", b"wide", b"free", b"skip", b"pnot"}
# words of English too: in a text the bytes before them, the box's size, are letters
WORDS = {b"wide", b"free", b"skip"}
# pictures in a container of the same family: HEIF and AVIF
PICTURE_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"avif", b"avis", b"mif1", b"msf1"}
# clips that are told by name and not read: each further demuxer is one more that strangers can feed
OTHERS = {
    b"FLV\x01": "Flash video",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "Windows Media",
    b"\x00\x00\x01\xba": "MPEG program stream",
    b"\x00\x00\x01\xb3": "MPEG video stream",
    b"OggS": "Ogg",
    b".RMF": "RealMedia",
}
READ = "mp4, mov, webm, mkv, avi or ts"


def demuxer_of(head: bytes) -> str | None:
    """Name FFmpeg's demuxer for a file; None where it is none of those that are read.

    Args:
        head: the first `HEAD_BYTES` of the file, or all of it.
    """
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if _is_iso(head):
        return "mp4"
    return "mpegts" if _is_transport_stream(head) else None


def other_clip(head: bytes) -> str | None:
    """Name a kind of clip that is known and not read."""
    return next((name for mark, name in OTHERS.items() if head.startswith(mark)), None)


def is_clip(head: bytes) -> bool:
    """Whether a file's first bytes are those of a clip, whatever its name; of a clip that is not read too."""
    return demuxer_of(head) is not None or other_clip(head) is not None


def _is_iso(head: bytes) -> bool:
    kind = head[4:8]
    if kind == b"ftyp":
        return head[8:12] not in PICTURE_BRANDS
    return kind in BOXES and (kind not in WORDS or head[0] == 0)


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes begin with 0x47 (ISO 13818-1); camcorders put a time code of 4 bytes before each."""
    if head.startswith(b"GIF8"):
        return False
    plain, timed = head[::188], head[4::192]
    return any(len(marks) >= 2 and set(marks) == {0x47} for marks in (plain, timed))
