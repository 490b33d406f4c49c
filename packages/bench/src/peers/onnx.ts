// The same matmul and convolution through ONNX Runtime: its native CPU kernels and its WebAssembly build.
// Models are encoded here by hand (protobuf of onnx.proto): one node, float32, opset 17.

import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Candidate } from '../measure.ts';

const varint = (value: number): number[] => {
  const out: number[] = [];
  for (let v = value; ; v = Math.floor(v / 128)) {
    if (v < 128) return [...out, v];
    out.push((v % 128) | 128);
  }
};
const integer = (field: number, value: number): number[] => [...varint(field << 3), ...varint(value)];
const block = (field: number, bytes: readonly number[]): number[] => [
  ...varint((field << 3) | 2),
  ...varint(bytes.length),
  ...bytes,
];
const text = (s: string): number[] => [...new TextEncoder().encode(s)];

interface OnnxTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

function valueInfo({ name, shape }: OnnxTensor): number[] {
  const dims = shape.flatMap((d) => block(1, integer(1, d)));
  return [...block(1, text(name)), ...block(2, block(1, [...integer(1, 1), ...block(2, dims)]))];
}

function model(
  op: string,
  inputs: readonly OnnxTensor[],
  output: OnnxTensor,
  ints: Readonly<Record<string, readonly number[]>>,
): Uint8Array {
  const attributes = Object.entries(ints).flatMap(([name, values]) =>
    block(5, [...block(1, text(name)), ...values.flatMap((v) => integer(8, v)), ...integer(20, 7)]),
  );
  const node = [
    ...inputs.flatMap((t) => block(1, text(t.name))),
    ...block(2, text(output.name)),
    ...block(4, text(op)),
    ...attributes,
  ];
  const graph = [
    ...block(1, node),
    ...block(2, text('g')),
    ...inputs.flatMap((t) => block(11, valueInfo(t))),
    ...block(12, valueInfo(output)),
  ];
  return Uint8Array.from([
    ...integer(1, 8),
    ...block(7, graph),
    ...block(8, [...block(1, []), ...integer(2, 17)]),
  ]);
}

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
  const bytes = model(
    'MatMul',
    [
      { name: 'a', shape: [w.m, w.k] },
      { name: 'b', shape: [w.k, w.n] },
    ],
    { name: 'y', shape: [w.m, w.n] },
    {},
  );
  return candidate(build, threads, bytes, { a: [w.a, [w.m, w.k]], b: [w.b, [w.k, w.n]] });
}

/** Stride 1, the same padding on all sides. */
export async function onnxConv(build: Build, threads: number, w: ConvWork): ReturnType<typeof candidate> {
  const [n, , h, width] = w.xShape as [number, number, number, number];
  const [o, , kh, kw] = w.wShape as [number, number, number, number];
  const y = [n, o, h + 2 * w.pad - kh + 1, width + 2 * w.pad - kw + 1];
  const bytes = model(
    'Conv',
    [
      { name: 'x', shape: w.xShape },
      { name: 'w', shape: w.wShape },
    ],
    { name: 'y', shape: y },
    {
      kernel_shape: [kh, kw],
      pads: [w.pad, w.pad, w.pad, w.pad],
    },
  );
  return candidate(build, threads, bytes, { x: [w.x, w.xShape], w: [w.w, w.wShape] });
}
