// Text files by path, in Node only; a page passes the text itself.

import { readFile } from 'node:fs/promises';
import { FormatError } from '../errors.ts';

/** @throws FormatError naming the path when there is no such file. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new FormatError(
      `${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`,
    );
  }
}
