// Our declarations of CUDA against NVIDIA's headers, where they are: cuda.h of a toolkit, the others of pip's packages
// in DARKROOM_SITE_PACKAGES. Elsewhere skipped, unless DARKROOM_REQUIRE names cuda-headers.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import {
  cudnnAttribute,
  cudnnCrossCorrelation,
  cudnnDataType,
  cudnnHeuristics,
  cudnnKind,
  cudnnNote,
  cudnnRuntimeCompilation,
  cudnnPointwise,
  cudnnStatus,
  cudnnType,
} from './node/cudnn.ts';
import { cublasCompute, cublasEpilogue, cublasReduction, cublasType } from './node/native.ts';
import { skip } from '@darkroom/core/testing';

const { env } = process;
const packages = (env['DARKROOM_SITE_PACKAGES'] ?? '').split(delimiter).filter(Boolean);
const folders = packages
  .map((p) => join(p, 'nvidia'))
  .filter((p) => existsSync(p))
  .flatMap((p) => readdirSync(p).map((name) => join(p, name, 'include')));
folders.push(join(env['CUDA_HOME'] || '/usr/local/cuda', 'include'));

const lacking = ['cuda.h', 'nvrtc.h', 'cublasLt.h', 'cudnn.h', 'library_types.h'].filter(
  (header) => !folders.some((f) => existsSync(join(f, header))),
);
const compiler = env['CXX'] || 'g++';
if (spawnSync(compiler, ['--version']).status !== 0) lacking.push(compiler);
const missing = lacking.length > 0 && skip('cuda-headers', `no ${lacking.join(', ')} here`);

test.skipIf(missing)('every signature, struct and number is that of the headers', () => {
  const require = createRequire(import.meta.url);
  // Relative to this process's folder.
  const addonApi = (require('node-addon-api') as { include_dir: string }).include_dir;
  const cmakeJs = createRequire(require.resolve('cmake-js/package.json'));
  const nodeApi = (cmakeJs('node-api-headers') as { include_dir: string }).include_dir;
  const root = join(fileURLToPath(import.meta.url), '..', '..');
  const includes = system([resolve(addonApi), nodeApi, ...folders]);
  const check = join(root, 'native', 'check.cc');
  expect(compile(['-DNAPI_VERSION=8', ...includes, check])).toBe('');
});

test.skipIf(missing)('the numbers of cudnn.ts are those of the headers', () => {
  const lines = [
    ...Object.entries(cudnnKind).map(([name, value]) =>
      same(`CUDNN_BACKEND_${snake(name)}_DESCRIPTOR`, value),
    ),
    ...Object.entries(cudnnAttribute).map(([name, value]) => same(`CUDNN_ATTR_${snake(name)}`, value)),
    ...Object.entries(cudnnType).map(([name, value]) => same(`CUDNN_TYPE_${snake(name)}`, value)),
    same('CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION', cudnnRuntimeCompilation),
    ...Object.entries(cudnnNote).map(([name, value]) => same(`CUDNN_NUMERICAL_NOTE_${snake(name)}`, value)),
    ...named(cudnnDataType, { float32: 'FLOAT', float16: 'HALF', bfloat16: 'BFLOAT16' }, 'CUDNN_DATA_'),
    ...named(
      cudnnPointwise,
      { add: 'ADD', gelu: 'GELU_FWD', swish: 'SWISH_FWD', geluTanh: 'GELU_APPROX_TANH_FWD' },
      'CUDNN_POINTWISE_',
    ),
    ...named(cudnnHeuristics, { fallback: 'FALLBACK', a: 'A' }, 'CUDNN_HEUR_MODE_'),
    same('CUDNN_CROSS_CORRELATION', cudnnCrossCorrelation),
    ...named(
      cudnnStatus,
      {
        notSupported: 'NOT_SUPPORTED',
        internalError: 'INTERNAL_ERROR',
        compilationFailed: 'INTERNAL_ERROR_COMPILATION_FAILED',
        unexpectedValue: 'INTERNAL_ERROR_UNEXPECTED_VALUE',
        deviceAllocationFailed: 'INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED',
      },
      'CUDNN_STATUS_',
    ),
  ];
  const source = `#include <cudnn.h>\n${lines.join('\n')}\n`;
  expect(compile([...system(folders), '-Wno-deprecated-declarations', '-x', 'c++', '-'], source)).toBe('');
});

test.skipIf(missing)('the numbers for cuBLASLt are those of the headers', () => {
  const reductions = { inplace: 'INPLACE', computeType: 'COMPUTE_TYPE', outputType: 'OUTPUT_TYPE' } as const;
  const epilogues = { none: 'DEFAULT', relu: 'RELU', bias: 'BIAS', reluBias: 'RELU_BIAS', gelu: 'GELU', geluBias: 'GELU_BIAS' } as const; // prettier-ignore
  const lines = [
    ...named(cublasType, { float32: 'CUDA_R_32F', float16: 'CUDA_R_16F', bfloat16: 'CUDA_R_16BF' }, ''),
    ...named(cublasCompute, { float32: '32F', tf32: '32F_FAST_TF32' }, 'CUBLAS_COMPUTE_'),
    ...named(cublasReduction, reductions, 'CUBLASLT_REDUCTION_SCHEME_'),
    ...named(cublasEpilogue, epilogues, 'CUBLASLT_EPILOGUE_'),
  ];
  const source = `#include <cublasLt.h>\n${lines.join('\n')}\n`;
  expect(compile([...system(folders), '-x', 'c++', '-'], source)).toBe('');
});

/** One check for each of our names: a forgotten one does not compile. */
function named<K extends string>(
  ours: Readonly<Record<K, number>>,
  theirs: Readonly<Record<K, string>>,
  prefix: string,
): string[] {
  return (Object.keys(ours) as K[]).map((name) => same(prefix + theirs[name], ours[name]));
}
const snake = (name: string): string => name.replace(/[A-Z]/g, '_$&').toUpperCase();
const same = (theirs: string, ours: number): string => `static_assert(${theirs} == ${ours}, "${theirs}");`;
const system = (list: readonly string[]): string[] => list.flatMap((f) => ['-isystem', f]);
/** The compiler's messages. */
function compile(options: readonly string[], input = ''): string {
  const done = spawnSync(compiler, ['-std=c++17', '-fsyntax-only', ...options], { encoding: 'utf8', input });
  return done.status === 0 ? '' : done.stderr;
}
