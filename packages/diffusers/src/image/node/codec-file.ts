// A codec's WebAssembly on disk: in the package that ships it, or beside a program that was bundled into one file.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FormatError } from '@darkroom/core';

/** Compiles the file at `path`, which begins with the package's name. @throws FormatError where there is none */
export async function codecModule(path: string): Promise<WebAssembly.Module> {
  const places = [
    () => createRequire(import.meta.url).resolve(path),
    () => join(dirname(fileURLToPath(import.meta.url)), basename(path)),
  ];
  for (const place of places) {
    try {
      return await WebAssembly.compile(await readFile(place()));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'MODULE_NOT_FOUND' && code !== 'ENOENT') throw error;
    }
  }
  throw new FormatError(`image: the codec ${path} is not installed, nor does it lie beside the program`);
}
