// The orientation that a camera wrote beside the pixels. It stands in a PNG's EXIF chunk, in a text that ImageMagick
// writes the same data to, or in XMP: where Pillow finds it, in the same order.

import { isExif, orientationInExif } from '../exif.ts';
import type { Fail, Png } from './chunks.ts';
import { textOf } from './text.ts';

/** The orientation, 1 to 8 as in EXIF; 1 if the file has none. */
export function orientationOf({ exif, texts }: Png, fail: Fail): number {
  const raw = textOf(texts, 'Raw profile type exif', fail)?.split('\n').slice(3).join('');
  const profile = exif ?? (raw === undefined ? undefined : bytesOfHex(raw));
  if (profile && !isExif(profile))
    return fail('its EXIF data, which may say how it is turned, cannot be read');
  const written = profile && orientationInExif(profile);
  if (written !== undefined) return written;
  const xmp = textOf(texts, 'XML:com.adobe.xmp', fail);
  return Number(/tiff:Orientation(?:="|>)([0-9])/.exec(xmp ?? '')?.[1] ?? 1);
}

function bytesOfHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (pair) => parseInt(pair, 16));
}
