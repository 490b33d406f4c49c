// The formats of pictures: by the ending of a path, by a name, and by how a file starts.

import { ArgumentError } from '@darkroom/core';

/** The formats that are read and written. */
export const pictureFormats = ['png', 'jpeg', 'webp'] as const;
/** A format of pictures. */
export type PictureFormat = (typeof pictureFormats)[number];

const endings: Readonly<Record<string, PictureFormat>> = {
  png: 'png',
  jpg: 'jpeg',
  jpeg: 'jpeg',
  jfif: 'jpeg',
  webp: 'webp',
};
const titles: Readonly<Record<PictureFormat, string>> = { png: 'PNG', jpeg: 'JPEG', webp: 'WebP' };

/** @throws ArgumentError for a name that is no format; 'jpg' is one */
export function checkFormat(option: string, format: string): PictureFormat {
  const known = pictureFormats.find((one) => one === format) ?? (format === 'jpg' ? 'jpeg' : undefined);
  if (!known)
    throw new ArgumentError(`${option}: must be one of ${pictureFormats.join(', ')}, got '${format}'`);
  return known;
}

/**
 * The format to write at `path`: by its ending, or as given where the ending says nothing.
 * @throws ArgumentError for an ending that is no format's, and where the two contradict each other
 */
export function formatFor(path: string, format?: string): PictureFormat {
  const ending = /\.([^./\\]*)$/.exec(path)?.[1]?.toLowerCase();
  const byEnding = ending !== undefined && Object.hasOwn(endings, ending) ? endings[ending] : undefined;
  const given = format === undefined ? undefined : checkFormat('format', format);
  if (byEnding && given && byEnding !== given)
    throw new ArgumentError(`${path}: its ending says ${titles[byEnding]}, and format says ${titles[given]}`);
  const found = given ?? byEnding;
  if (!found) {
    const known = Object.keys(endings).map((one) => `.${one}`);
    throw new ArgumentError(
      `${path}: pictures are written as PNG, JPEG or WebP; let it end in ${known.join(', ')}, or give a format`,
    );
  }
  return found;
}

const starts: readonly (readonly [format: string, start: RegExp])[] = [
  ['JPEG', /^\xff\xd8\xff/],
  ['GIF', /^GIF8[79]a/],
  ['WebP', /^RIFF[^]{4}WEBP/],
  ['BMP', /^BM/],
  ['TIFF', /^(II\*\0|MM\0\*)/],
  ['JPEG 2000', /^\0\0\0\x0cjP {2}/],
  ['JPEG XL', /^(\xff\x0a|\0\0\0\x0cJXL )/],
  ['AVIF or HEIF', /^[^]{4}ftyp(avif|avis|heic|heix|mif1|msf1)/],
];

/** The format of a file that is no PNG; undefined where it is not known. */
export function otherFormat(file: Uint8Array): string | undefined {
  const start = String.fromCharCode(...file.subarray(0, 16));
  return starts.find(([, pattern]) => pattern.test(start))?.[0];
}
