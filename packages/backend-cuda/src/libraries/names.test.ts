// The choice of libraries by option and by environment variable.

import { expect, test } from 'vitest';
import { ArgumentError } from '@darkroom/core';
import { FaultLog } from '../fault-log.ts';
import type { Cuda } from '../node/addon.ts';
import { librariesOf, libraryVersions, namesOf, restrictedTo } from './index.ts';
import type { LibraryNames } from './index.ts';

test('all by default; the option goes before the variable', () => {
  const variable = (value: string): Record<string, string> => ({ DARKROOM_CUDA_LIBRARIES: value });
  expect(namesOf(undefined, {})).toEqual(['cublasLt', 'cudnn']);
  expect(namesOf(undefined, variable(''))).toEqual(['cublasLt', 'cudnn']);
  expect(namesOf(undefined, variable('none'))).toEqual([]);
  expect(namesOf(undefined, variable('cudnn'))).toEqual(['cudnn']);
  expect(namesOf(undefined, variable('cudnn, cublasLt'))).toEqual(['cublasLt', 'cudnn']);
  expect(namesOf('all', variable('none'))).toEqual(['cublasLt', 'cudnn']);
  expect(namesOf(['cublasLt'], variable('none'))).toEqual(['cublasLt']);
  expect(namesOf([], {})).toEqual([]);
});

test('another name is one error that names where it stands', () => {
  expect(() => namesOf(undefined, { DARKROOM_CUDA_LIBRARIES: 'cublas' })).toThrow(
    "cuda: DARKROOM_CUDA_LIBRARIES: 'cublas' is no library; 'all', 'none', or some of cublasLt, cudnn",
  );
  expect(() => namesOf(['nvrtc'] as unknown as LibraryNames, {})).toThrow(ArgumentError);
});

test('a library that is not named is neither used nor part of the fingerprint', () => {
  const library = { version: () => 90000 };
  const cuda = { cublasLt: library, cudnn: library } as unknown as Cuda;
  const used = (names: LibraryNames): readonly [readonly string[], readonly string[]] => {
    const left = restrictedTo(cuda, namesOf(names, {}));
    return [librariesOf(left, new FaultLog()).map((l) => l.name), libraryVersions(left)];
  };
  expect(used('all')).toEqual([['cublaslt', 'cudnn'], ['cuBLASLt 90000', 'cuDNN 90000']]); // prettier-ignore
  expect(used(['cudnn'])).toEqual([['cudnn'], ['cuDNN 90000']]);
  expect(used('none')).toEqual([[], []]);
});
