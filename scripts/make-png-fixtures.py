"""Makes fixtures/png/pictures.json: PNGs of every kind, and the pixels that Pillow gives.

    python3 scripts/make-png-fixtures.py fixtures/png

Needs Pillow 12.3.0. The files are written here chunk by chunk, since Pillow writes few of these kinds. Where Pillow has no
right answer the samples written say what is right: it saturates grey of 16 bits, and compares a transparent colour of 16
bits with samples cut to 8.
"""

import base64
import io
import json
import random
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image, ImageOps

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
draw = random.Random(1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(samples, depth):
    if depth == 16:
        return struct.pack(f">{len(samples)}H", *samples)
    bits = "".join(f"{v:0{depth}b}" for v in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def paeth(a, b, c):
    pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def filtered(line, above, left, kind):
    out = bytearray([kind])
    for i, v in enumerate(line):
        a = line[i - left] if i >= left else 0
        b = above[i]
        c = above[i - left] if i >= left else 0
        out.append((v - [0, a, b, (a + b) // 2, paeth(a, b, c)][kind]) % 256)
    return bytes(out)


def scanlines(rows, depth, channels, interlaced):
    """rows[y][x] is a tuple of samples; every filter is used in turn."""
    left = max(1, channels * depth // 8)
    height, width = len(rows), len(rows[0])
    out, kind = b"", 0
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        above = None
        for y in range(y0, height, dy):
            line = packed([v for x in range(x0, width, dx) for v in rows[y][x]], depth)
            if not line:
                continue
            out += filtered(line, above or bytes(len(line)), left, kind % 5)
            above, kind = line, kind + 1
    return out


def png(rows, depth, colour, chunks=b"", interlaced=False, after=b"", pieces=1):
    height, width = len(rows), len(rows[0])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    data = zlib.compress(scanlines(rows, depth, CHANNELS[colour], interlaced))
    size = -(-len(data) // pieces)
    body = b"".join(chunk(b"IDAT", data[i:i + size]) for i in range(0, len(data), size))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + body + after + chunk(b"IEND", b"")


def rows_of(width, height, depth, channels, most=None):
    top = 2**depth - 1 if most is None else most
    return [[tuple(draw.randint(0, top) for _ in range(channels)) for _ in range(width)] for _ in range(height)]


def encoded(data):
    return base64.b64encode(data).decode()


def case(name, file, rgb=None, alpha=None):
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    has_alpha = alpha is not None or "A" in picture.mode or "transparency" in picture.info
    width, height = picture.size
    colours = Image.frombytes("RGB", (width, height), rgb) if rgb else picture.convert("RGB")
    found = {"name": name, "png": encoded(file), "width": width, "height": height,
             "rgb": encoded(colours.tobytes()),
             "l": encoded((colours if rgb else picture).convert("L").tobytes())}
    if has_alpha:
        found["alpha"] = encoded(alpha or picture.convert("RGBA").getchannel("A").tobytes())
    return found


def tiff(orientation, little):
    order = "<" if little else ">"
    entries = [struct.pack(order + "HHII", 0x0100, 4, 1, 9), struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)]
    return (b"II*\0" if little else b"MM\0*") + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries) + bytes(4)


def kinds():
    palette = lambda n: chunk(b"PLTE", bytes(draw.randint(0, 255) for _ in range(3 * n)))
    for interlaced in (False, True):
        suffix = ", Adam7" if interlaced else ""
        for width, height in [(9, 7)] + ([(1, 1), (3, 2), (5, 9)] if interlaced else [(1, 3)]):
            for colour, what, depths in [(0, "grey", [1, 2, 4, 8]), (2, "rgb", [8, 16]), (4, "grey with alpha", [8, 16]),
                                         (6, "rgba", [8, 16])]:
                for depth in depths:
                    rows = rows_of(width, height, depth, CHANNELS[colour])
                    yield case(f"{what} {depth}, {width}x{height}{suffix}", png(rows, depth, colour, interlaced=interlaced))
            rows = rows_of(width, height, 16, 1)
            grey = bytes(v >> 8 for row in rows for (v,) in row for _ in range(3))
            yield case(f"grey 16, {width}x{height}{suffix}", png(rows, 16, 0, interlaced=interlaced), rgb=grey)
            for depth in (1, 2, 4, 8):
                n = min(2**depth, 200)
                rows = rows_of(width, height, depth, 1, n - 1)
                yield case(f"palette {depth}, {width}x{height}{suffix}",
                           png(rows, depth, 3, palette(n), interlaced=interlaced))
    rows = rows_of(9, 7, 4, 1)
    yield case("palette 4, indices beyond it", png(rows, 4, 3, palette(10)))
    yield case("palette 4, transparent entries", png(rows, 4, 3, palette(16) + chunk(b"tRNS", bytes([0, 100, 255, 7]))))
    yield case("palette 4, transparent entries, Adam7",
               png(rows, 4, 3, palette(16) + chunk(b"tRNS", bytes([0, 100, 255, 7])), True))
    rows = rows_of(9, 7, 8, 1)
    yield case("palette 8 of few colours", png(rows_of(9, 7, 8, 1, 4), 8, 3, palette(5)))
    for depth, key in [(1, 1), (2, 2), (4, 9), (8, rows[3][4][0])]:
        grey = rows if depth == 8 else rows_of(9, 7, depth, 1)
        # Pillow compares what was widened to 8 bits with the colour as it is written.
        alpha = bytes(0 if v == key else 255 for row in grey for (v,) in row)
        yield case(f"grey {depth}, a transparent colour", png(grey, depth, 0, chunk(b"tRNS", struct.pack(">H", key))),
                   alpha=alpha)
    rows = rows_of(9, 7, 16, 1)
    key = rows[2][5][0]
    yield case("grey 16, a transparent colour", png(rows, 16, 0, chunk(b"tRNS", struct.pack(">H", key))),
               rgb=bytes(v >> 8 for row in rows for (v,) in row for _ in range(3)),
               alpha=bytes(0 if v == key else 255 for row in rows for (v,) in row))
    rows = rows_of(9, 7, 8, 3, 2)
    yield case("rgb 8, a transparent colour", png(rows, 8, 2, chunk(b"tRNS", struct.pack(">3H", 1, 2, 0))))
    rows = rows_of(9, 7, 16, 3)
    key = rows[1][1]
    yield case("rgb 16, a transparent colour", png(rows, 16, 2, chunk(b"tRNS", struct.pack(">3H", *key))),
               alpha=bytes(0 if v == key else 255 for row in rows for v in row))
    rows = rows_of(9, 7, 8, 3)
    yield case("rgb 8, a palette for other viewers", png(rows, 8, 2, palette(16)))
    yield case("rgb 8, gamma, profile and text are not applied", png(
        rows, 8, 2, chunk(b"gAMA", struct.pack(">I", 100_000)) + chunk(b"tEXt", b"Comment\0x")
        + chunk(b"iCCP", b"p\0\0" + zlib.compress(b"no profile"))))
    yield case("rgb 8, data in pieces", png(rows, 8, 2, pieces=40))
    for orientation in range(1, 9):
        yield case(f"rgb 8, orientation {orientation}",
                   png(rows, 8, 2, chunk(b"eXIf", tiff(orientation, orientation % 2 == 0))))
    grey = rows_of(9, 7, 4, 1)
    yield case("palette 4, orientation 6 behind the data",
               png(grey, 4, 3, palette(16), after=chunk(b"eXIf", b"Exif\0\0" + tiff(6, False))))
    yield case("rgba 8, orientation 8", png(rows_of(9, 7, 8, 4), 8, 6, chunk(b"eXIf", tiff(8, True))))
    yield case("rgb 8, orientation 9", png(rows, 8, 2, chunk(b"eXIf", tiff(9, True))))
    data = b"Exif\0\0" + tiff(5, False)
    text = f"\nexif\n{len(data):8}\n{data.hex()}\n".encode()
    yield case("rgb 8, orientation 5 in a text", png(rows, 8, 2, chunk(b"tEXt", b"Raw profile type exif\0" + text)))
    yield case("rgb 8, orientation 5 in a compressed text",
               png(rows, 8, 2, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))))
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="7"/></x:xmpmeta>'
    yield case("rgb 8, orientation 7 in XMP", png(rows, 8, 2, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))
    yield case("rgb 8, orientation 7 in compressed XMP",
               png(rows, 8, 2, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0t\0" + zlib.compress(xmp))))
    yield case("rgb 8, EXIF before XMP", png(rows, 8, 2, chunk(b"eXIf", tiff(3, True))
                                             + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))


cases = list(kinds())
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
lines = ",\n  ".join(json.dumps(c) for c in cases)
(folder / "pictures.json").write_text(f'{{"cases": [\n  {lines}\n]}}\n')
print(len(cases), "pictures")
