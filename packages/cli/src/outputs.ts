// The output pictures: their paths and format, checked before anything is drawn, and written.

import { tryWriting } from '@darkroom/core/node';
import { formatFor } from '@darkroom/diffusers';
import type { Image, PictureFormat } from '@darkroom/diffusers';
import { usage, UsageError } from './usage.ts';

/** Paths checked at most; the others are in the same folder. */
const mostTried = 100;
/** Characters of prompts that fit into a JPEG, whose EXIF data ends at 64 KiB and may repeat them. */
const jpegCharacters = 10_000;
/** Bytes of a trial file that tests folder and permissions. */
const fewBytes = 4096;

export interface OutputOptions {
  /** A path, or '-' for standard output. */
  readonly output: string;
  readonly format?: string;
  readonly quality?: number;
  /** False: pixels alone, without how they were drawn. */
  readonly parameters: boolean;
  readonly json?: boolean;
}

/** Where `count` pictures go. */
export class Outputs {
  readonly #options: OutputOptions;
  readonly #count: number;
  readonly format: PictureFormat;

  /** @throws UsageError for an unknown or contradictory format, and for what standard output cannot take */
  constructor(options: OutputOptions, count: number) {
    const { output, format, quality, json } = options;
    this.#options = options;
    this.#count = count;
    this.format = usage('--output', () =>
      formatFor(output === '-' ? '' : output, format ?? (output === '-' ? 'png' : undefined)),
    );
    if (quality !== undefined && this.format === 'png')
      throw new UsageError('--quality: PNG loses nothing and has none; write .jpg or .webp, or leave it out');
    if (output !== '-') return;
    if (count > 1)
      throw new UsageError(
        `--output -: standard output takes one picture, not ${count}; join them with --grid`,
      );
    if (json)
      throw new UsageError(
        '--json: standard output takes the result or, with -o -, the picture; leave one out',
      );
    if (process.stdout.isTTY)
      throw new UsageError('--output -: standard output is a terminal; send it to a file or a program');
  }

  /** @throws UsageError for texts that the format cannot hold beside the pixels */
  requireRoom(prompts: readonly string[], negative = ''): void {
    const longest = Math.max(...prompts.map((prompt) => prompt.length)) + negative.length;
    if (this.format === 'jpeg' && this.#options.parameters && longest > jpegCharacters)
      throw new UsageError(
        `--output: a JPEG holds prompts of ${jpegCharacters} characters, got ${longest}; write PNG or WebP, or give ` +
          '--no-parameters',
      );
  }

  /** The path of picture `i`: of several, -1, -2, … before the ending. */
  path(i: number): string {
    const { output } = this.#options;
    return this.#count <= 1 ? output : output.replace(/(\.[^./\\]*)?$/, `-${i + 1}$1`);
  }

  /** Throws for the first path that cannot be written; with the size of a picture also when the disk has no room. */
  async try(pixels = 0): Promise<void> {
    if (this.#options.output === '-') return;
    const tried = Math.max(1, Math.min(this.#count, mostTried));
    const paths = Array.from({ length: tried }, (_, i) => this.path(i));
    const bytes = this.#count > mostTried ? 0 : Math.min(3 * pixels, 2 ** 28);
    await tryWriting(paths, Math.max(fewBytes, bytes));
  }

  /** Writes each of the pictures from the `first` on that can be written. @throws the first error, after the last */
  async save(
    images: readonly Image[],
    first: number,
    wrote: (path: string, image: Image) => void,
  ): Promise<void> {
    const errors: unknown[] = [];
    const { quality, parameters, output } = this.#options;
    const options = { parameters, ...(quality !== undefined && { quality }) };
    for (const [i, image] of images.entries()) {
      try {
        const path = this.path(first + i);
        if (output === '-') await toStdout(await image.encode(this.format, options));
        else await image.save(path, { ...options, format: this.format });
        wrote(path, image);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

function toStdout(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
