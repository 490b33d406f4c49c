// What every decoder refuses before it reserves memory.

import { FormatError } from '@darkroom/core';

/** Throws a FormatError with the reason. */
export type Fail = (rule: string) => never;

/** Pixels at most, a quarter of a gigabyte as RGB: Pillow's limit. */
export const maxPixels = 89_478_485;

/** The failure of a file. */
export const failing =
  (name: string, format: string): Fail =>
  (rule) => {
    throw new FormatError(`${name}: not a readable ${format}: ${rule}`);
  };

/** @throws FormatError by `fail` for a size that is none, or too large */
export function requireSize(width: number, height: number, fail: Fail): void {
  if (width === 0 || height === 0) fail(`it is ${width}x${height}`);
  if (width * height > maxPixels)
    fail(`it is ${width}x${height}, ${width * height} pixels; at most ${maxPixels} are read`);
}
