// The same matmul and convolution through ONNX Runtime: its native CPU kernels and its WebAssembly build.

import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Candidate } from '../measure.ts';
import { encodeModel } from './onnx-model.ts';

export interface MatmulWork {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
}
export interface ConvWork {
  readonly x: Float32Array;
  readonly xShape: readonly number[];
  readonly w: Float32Array;
  readonly wShape: readonly number[];
  readonly pad: number;
}

type Build = 'node' | 'web';
interface Ort {
  readonly env: { wasm: { numThreads: number; wasmPaths: string } };
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options: object,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: Float32Array }>> }>;
  };
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => object;
}

async function runtime(build: Build, threads: number): Promise<Ort> {
  const require = createRequire(import.meta.url);
  if (build === 'node') return require('onnxruntime-node') as Ort;
  const entry = require.resolve('onnxruntime-web/wasm');
  const loaded = (await import(pathToFileURL(entry).href)) as Ort & { default?: Ort };
  const ort = loaded.InferenceSession ? loaded : loaded.default!;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = `${pathToFileURL(dirname(entry)).href}/`;
  return ort;
}

async function candidate(
  build: Build,
  threads: number,
  bytes: Uint8Array,
  feeds: Readonly<Record<string, readonly [Float32Array, readonly number[]]>>,
): Promise<Candidate & { result(): Promise<Float32Array> }> {
  const ort = await runtime(build, threads);
  const options = build === 'node' ? { intraOpNumThreads: threads } : { executionProviders: ['wasm'] };
  const session = await ort.InferenceSession.create(bytes, options);
  const inputs = Object.fromEntries(
    Object.entries(feeds).map(([name, [data, shape]]) => [name, new ort.Tensor('float32', data, shape)]),
  );
  return {
    name: `onnxruntime-${build} ${threads} thread${threads > 1 ? 's' : ''}`,
    run: async () => void (await session.run(inputs)),
    result: async () => (await session.run(inputs))['y']!.data,
  };
}

export async function onnxMatmul(build: Build, threads: number, w: MatmulWork): ReturnType<typeof candidate> {
  const bytes = encodeModel({
    inputs: [
      { name: 'a', shape: [w.m, w.k] },
      { name: 'b', shape: [w.k, w.n] },
    ],
    nodes: [{ op: 'MatMul', inputs: ['a', 'b'], output: 'y' }],
    output: { name: 'y', shape: [w.m, w.n] },
  });
  return candidate(build, threads, bytes, { a: [w.a, [w.m, w.k]], b: [w.b, [w.k, w.n]] });
}

/** Stride 1, the same padding on all sides. */
export async function onnxConv(build: Build, threads: number, w: ConvWork): ReturnType<typeof candidate> {
  const [n, , h, width] = w.xShape as [number, number, number, number];
  const [o, , kh, kw] = w.wShape as [number, number, number, number];
  const y = [n, o, h + 2 * w.pad - kh + 1, width + 2 * w.pad - kw + 1];
  const attributes = { kernel_shape: [kh, kw], pads: [w.pad, w.pad, w.pad, w.pad] };
  const bytes = encodeModel({
    inputs: [
      { name: 'x', shape: w.xShape },
      { name: 'w', shape: w.wShape },
    ],
    nodes: [{ op: 'Conv', inputs: ['x', 'w'], output: 'y', attributes }],
    output: { name: 'y', shape: y },
  });
  return candidate(build, threads, bytes, { x: [w.x, w.xShape], w: [w.w, w.wShape] });
}
