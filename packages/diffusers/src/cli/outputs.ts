// Where pictures go, and whether they can go there: found out before anything is drawn.

import { extname } from 'node:path';
import { ArgumentError } from '@darkroom/core';
import { tryWriting } from '@darkroom/core/node';
import type { Image } from '../image/image.ts';

const mostPictures = 10_000;
/** Enough to find out about folders and permissions. */
const fewBytes = 4096;

/** The path of each picture: of several, -1, -2, … before the ending. */
export function outputPaths(output: string, count: number): string[] {
  if (extname(output).toLowerCase() !== '.png')
    throw new ArgumentError(`--output: only PNG is written, got '${output}'`);
  if (count > mostPictures)
    throw new ArgumentError(`--count: at most ${mostPictures} pictures a call, got ${count}`);
  if (count <= 1) return [output];
  return Array.from({ length: count }, (_, i) => output.replace(/\.png$/i, `-${i + 1}.png`));
}

/** Throws for the first path that cannot be written; with the size of a picture also when the disk has no room. */
export async function tryOutputs(paths: readonly string[], pixels = 0): Promise<void> {
  await tryWriting(paths, Math.max(fewBytes, Math.min(3 * pixels, 2 ** 28)));
}

/** Writes each picture that can be written. @throws the first error, after the last picture. */
export async function saveAll(
  images: readonly Image[],
  paths: readonly string[],
  say: (line: string) => void,
): Promise<void> {
  const errors: unknown[] = [];
  for (const [i, image] of images.entries()) {
    try {
      await image.save(paths[i]!);
      say(`wrote ${paths[i]} (${image.width}x${image.height})`);
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
