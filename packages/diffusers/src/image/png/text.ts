// The texts of a PNG: reading one by its keyword, and the chunk of a new one.

import type { Chunk, Fail } from './chunks.ts';
import { chunkBytes } from './chunks.ts';
import { inflateUpTo } from './inflate.ts';

/** Bytes of an inflated text at most, as in Pillow. */
const maxText = 2 ** 20;

const latin1 = new TextDecoder('latin1');

/** The text under a keyword; undefined where there is none. */
export function textOf(texts: readonly Chunk[], keyword: string, fail: Fail): string | undefined {
  const chunk = texts.find(
    ({ data }) => latin1.decode(data.subarray(0, keyword.length + 1)) === `${keyword}\0`,
  );
  if (!chunk) return undefined;
  let [body, isCompressed] = [chunk.data.subarray(keyword.length + 1), chunk.type === 'zTXt'];
  if (chunk.type === 'zTXt') body = body.subarray(1);
  if (chunk.type === 'iTXt') {
    isCompressed = body[0] === 1;
    const language = body.indexOf(0, 2);
    const translated = body.indexOf(0, language + 1);
    body = body.subarray(translated + 1);
  }
  const decode = (bytes: Uint8Array): string =>
    chunk.type === 'iTXt' ? new TextDecoder().decode(bytes) : isoLatin1(bytes);
  if (!isCompressed) return decode(body);
  const text = inflateUpTo([body], maxText + 1, fail);
  if (text.length > maxText) fail(`its text '${keyword}' is longer than ${maxText} bytes`);
  return decode(text);
}

/** ISO 8859-1, in which every byte is a character: TextDecoder's latin1 is Windows' instead. */
function isoLatin1(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let i = 0; i < bytes.length; i += 8192)
    parts.push(String.fromCharCode(...bytes.subarray(i, i + 8192)));
  return parts.join('');
}

/** A whole chunk of text: tEXt where Latin-1 can say it, else iTXt in UTF-8, as Pillow chooses. */
export function textChunk(keyword: string, text: string): Uint8Array {
  const bytes = (chars: string): Uint8Array => Uint8Array.from(chars, (c) => c.charCodeAt(0));
  if (/^[\x01-\xff]*$/.test(text)) return chunkBytes('tEXt', bytes(`${keyword}\0${text}`));
  const utf8 = new TextEncoder().encode(text);
  const head = bytes(`${keyword}\0\0\0\0\0`);
  const data = new Uint8Array(head.length + utf8.length);
  data.set(head);
  data.set(utf8, head.length);
  return chunkBytes('iTXt', data);
}
