// The two entries of EXIF data that pictures need: how the picture is turned, and the user's comment, where tools write
// how it was drawn. Reading is bounded by the data's size and never throws for damaged data but where the caller asks.

const orientationTag = 0x0112;
const exifDirectoryTag = 0x8769;
const userCommentTag = 0x9286;
const [shortType, longType, undefinedType] = [3, 4, 7] as const;

const latin1 = new TextDecoder('latin1');

interface Tiff {
  readonly view: DataView;
  readonly isLittle: boolean;
}

/** The TIFF inside, with or without the 'Exif' mark before it; undefined where it is none. */
function tiffOf(profile: Uint8Array): Tiff | undefined {
  const start = latin1.decode(profile.subarray(0, 6)) === 'Exif\0\0' ? 6 : 0;
  const view = new DataView(profile.buffer, profile.byteOffset + start, profile.byteLength - start);
  const order = view.byteLength < 8 ? 0 : view.getUint16(0);
  const isLittle = order === 0x4949;
  if ((!isLittle && order !== 0x4d4d) || view.getUint16(2, isLittle) !== 42) return undefined;
  return { view, isLittle };
}

/** Place of a tag's entry (12 bytes: tag, type, count, value) in the directory at `directory`. */
function entryAt({ view, isLittle }: Tiff, directory: number, tag: number): number | undefined {
  const fits = (at: number, bytes: number): boolean => at + bytes <= view.byteLength;
  const entries = fits(directory, 2) ? view.getUint16(directory, isLittle) : 0;
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + 12 * i;
    if (!fits(at, 12)) return undefined;
    if (view.getUint16(at, isLittle) === tag) return at;
  }
  return undefined;
}

/** True if the data can be read at all. */
export const isExif = (profile: Uint8Array): boolean => tiffOf(profile) !== undefined;

/** The orientation, 1 to 8; undefined where it is not given. */
export function orientationInExif(profile: Uint8Array): number | undefined {
  const tiff = tiffOf(profile);
  const at = tiff && entryAt(tiff, tiff.view.getUint32(4, tiff.isLittle), orientationTag);
  if (at === undefined) return undefined;
  const { view, isLittle } = tiff!;
  const isShort = view.getUint16(at + 2, isLittle) === shortType;
  return isShort ? view.getUint16(at + 8, isLittle) : view.getUint32(at + 8, isLittle);
}

/** The user's comment; undefined where there is none, or it is in no known character set. */
export function userCommentInExif(profile: Uint8Array): string | undefined {
  const tiff = tiffOf(profile);
  if (!tiff) return undefined;
  const { view, isLittle } = tiff;
  const pointer = entryAt(tiff, view.getUint32(4, isLittle), exifDirectoryTag);
  if (pointer === undefined) return undefined;
  const at = entryAt(tiff, view.getUint32(pointer + 8, isLittle), userCommentTag);
  if (at === undefined) return undefined;
  const length = view.getUint32(at + 4, isLittle);
  const from = length <= 4 ? at + 8 : view.getUint32(at + 8, isLittle);
  if (length < 8 || from + length > view.byteLength) return undefined;
  const bytes = new Uint8Array(view.buffer, view.byteOffset + from, length);
  const text = bytes.subarray(8);
  switch (latin1.decode(bytes.subarray(0, 8))) {
    case 'UNICODE\0':
      return utf16(text, isLittle);
    case 'ASCII\0\0\0':
    case '\0\0\0\0\0\0\0\0':
      return new TextDecoder().decode(text);
    default:
      return undefined;
  }
}

/** UTF-16. Tools write big-endian whatever the data's own order, some in that order: the one that reads as theirs. */
function utf16(bytes: Uint8Array, isLittle: boolean): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decode = (little: boolean): string => {
    const units: string[] = [];
    for (let i = 0; i + 1 < bytes.length; i += 2) units.push(String.fromCharCode(view.getUint16(i, little)));
    return units.join('');
  };
  const big = decode(false);
  if (!isLittle || big.includes('Steps: ')) return big;
  return decode(true);
}

/** EXIF data (a TIFF, big-endian) whose only entry is a comment in UTF-16, as piexif writes it. */
export function exifWithComment(comment: string): Uint8Array {
  const length = 8 + 2 * comment.length;
  const [first, second] = [8, 26];
  const data = 44;
  const out = new Uint8Array(data + length);
  const view = new DataView(out.buffer);
  const entry = (at: number, tag: number, type: number, count: number, value: number): void => {
    view.setUint16(at, 1); // entries of the directory
    view.setUint16(at + 2, tag);
    view.setUint16(at + 4, type);
    view.setUint32(at + 6, count);
    view.setUint32(at + 10, value);
    view.setUint32(at + 14, 0); // no next directory
  };
  view.setUint32(0, 0x4d4d002a);
  view.setUint32(4, first);
  entry(first, exifDirectoryTag, longType, 1, second);
  entry(second, userCommentTag, undefinedType, length, data);
  for (const [i, char] of [...'UNICODE\0'].entries()) out[data + i] = char.charCodeAt(0);
  for (let i = 0; i < comment.length; i++) view.setUint16(data + 8 + 2 * i, comment.charCodeAt(i));
  return out;
}
