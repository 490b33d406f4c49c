// The paths of output pictures, checked for writability before anything is drawn.

import { extname } from 'node:path';
import { ArgumentError } from '@darkroom/core';
import { tryWriting } from '@darkroom/core/node';
import type { Image } from '@darkroom/diffusers';

/** Paths checked at most; the others are in the same folder. */
const mostTried = 100;
/** Bytes of a trial file that tests folder and permissions. */
const fewBytes = 4096;

/** The path of picture `i`: of several, -1, -2, … before the ending. */
function outputPath(output: string, count: number, i: number): string {
  return count <= 1 ? output : output.replace(/\.png$/i, `-${i + 1}.png`);
}

/** Throws for the first path that cannot be written; with the size of a picture also when the disk has no room. */
export async function tryOutputs(output: string, count: number, pixels = 0): Promise<void> {
  if (extname(output).toLowerCase() !== '.png')
    throw new ArgumentError(`--output: only PNG is written, got '${output}'`);
  const tried = Math.max(1, Math.min(count, mostTried));
  const paths = Array.from({ length: tried }, (_, i) => outputPath(output, count, i));
  const bytes = count > mostTried ? 0 : Math.min(3 * pixels, 2 ** 28);
  await tryWriting(paths, Math.max(fewBytes, bytes));
}

/** Writes each picture that can be written. @throws the first error, after the last picture. */
export async function saveAll(
  images: readonly Image[],
  output: string,
  say: (line: string) => void,
): Promise<void> {
  const errors: unknown[] = [];
  for (const [i, image] of images.entries()) {
    try {
      const path = outputPath(output, images.length, i);
      await image.save(path);
      say(`wrote ${path} (${image.width}x${image.height})`);
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
