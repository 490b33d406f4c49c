// Telling pictures of other formats by how they start, so that an error can name them.

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
