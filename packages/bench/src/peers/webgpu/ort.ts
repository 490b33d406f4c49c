// ONNX Runtime Web on its WebGPU provider: inputs and outputs stay in GPU buffers, convolution weights are constants
// of the model (it may lay them out once), as a real model has them.

import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { encodeModel } from '../onnx-model.ts';
import type { OnnxGraph } from '../onnx-model.ts';
import type { Candidate, Form } from './candidate.ts';
import type { GpuBuffer, GpuDevice } from './dawn.ts';
import { permute } from './permute.ts';
import { works } from './work.ts';

interface OrtTensor {
  getData(): Promise<Float32Array>;
  dispose(): void;
}
interface Ort {
  readonly env: {
    logLevel: 'error';
    readonly wasm: { numThreads: number; wasmPaths: string };
    readonly webgpu: { readonly device: Promise<GpuDevice> };
  };
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options: {
        executionProviders: readonly { name: 'webgpu'; preferredLayout: 'NCHW' | 'NHWC' }[];
        preferredOutputLocation: 'gpu-buffer';
      },
    ): Promise<{
      run(feeds: object): Promise<Readonly<Record<string, OrtTensor>>>;
      release(): Promise<void>;
    }>;
  };
  readonly Tensor: {
    fromGpuBuffer(buffer: GpuBuffer, options: { dataType: 'float32'; dims: readonly number[] }): OrtTensor;
  };
}

/** GPUBufferUsage: STORAGE, COPY_SRC and COPY_DST. */
const usage = 0x80 | 0x4 | 0x8;

async function load(): Promise<Ort> {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-web/webgpu');
  const loaded = (await import(pathToFileURL(entry).href)) as Ort & { default?: Ort };
  const ort = loaded.InferenceSession ? loaded : loaded.default!;
  ort.env.logLevel = 'error';
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = `${pathToFileURL(dirname(entry)).href}/`;
  return ort;
}

/** A model, the data of its inputs, and how its output becomes the work's. */
interface Built {
  readonly graph: OnnxGraph;
  readonly feeds: readonly Float32Array<ArrayBuffer>[];
  readonly layout?: 'NHWC';
  readonly finish?: (values: Float32Array) => Float32Array;
}

export async function openOrt(): Promise<Candidate> {
  const ort = await load();
  const form = (name: string, build: (inputs: readonly Float32Array<ArrayBuffer>[]) => Built): Form => ({
    name,
    async prepare(inputs) {
      const { graph, feeds, layout = 'NCHW', finish } = build(inputs);
      const session = await ort.InferenceSession.create(encodeModel(graph), {
        executionProviders: [{ name: 'webgpu', preferredLayout: layout }],
        preferredOutputLocation: 'gpu-buffer',
      });
      const { createBuffer, queue } = await deviceOf(ort);
      const buffers = feeds.map((values) => {
        const buffer = createBuffer({ size: values.byteLength, usage });
        queue.writeBuffer(buffer, 0, values);
        return buffer;
      });
      const named = Object.fromEntries(
        graph.inputs.map((input, i) => [
          input.name,
          ort.Tensor.fromGpuBuffer(buffers[i]!, { dataType: 'float32', dims: input.shape }),
        ]),
      );
      const call = async (): Promise<OrtTensor> => (await session.run(named))[graph.output.name]!;
      return {
        async run() {
          const y = await call();
          await queue.onSubmittedWorkDone();
          y.dispose();
        },
        async result() {
          const y = await call();
          const values = await y.getData();
          y.dispose();
          return finish ? finish(values) : values;
        },
        dispose() {
          for (const buffer of buffers) buffer.destroy();
          void session.release();
        },
      };
    },
  });

  return {
    includesReadback: false,
    forms: {
      matmul: [form('MatMul', matmul)],
      conv: [
        form('Conv NCHW', (inputs) => conv(inputs)),
        form('Conv NHWC', (inputs) => ({ ...conv(inputs), layout: 'NHWC' })),
      ],
      attention: [
        form('Mul, MatMul of k transposed before, Softmax, MatMul', composedAttention),
        form('com.microsoft MultiHeadAttention', multiHeadAttention),
      ],
    },
  };
}

/** ONNX Runtime makes its device with the first session. */
async function deviceOf(ort: Ort): Promise<GpuDevice> {
  const device = await ort.env.webgpu.device;
  return { queue: device.queue, createBuffer: (descriptor) => device.createBuffer(descriptor) };
}

const shapes = (work: keyof typeof works): readonly (readonly number[])[] =>
  works[work].inputs.map((i) => i.shape);

function matmul(inputs: readonly Float32Array<ArrayBuffer>[]): Built {
  const [a, b] = shapes('matmul');
  const graph: OnnxGraph = {
    inputs: [
      { name: 'a', shape: a! },
      { name: 'b', shape: b! },
    ],
    nodes: [{ op: 'MatMul', inputs: ['a', 'b'], output: 'y' }],
    output: { name: 'y', shape: works.matmul.outputShape },
  };
  return { graph, feeds: inputs };
}

function conv([x, w]: readonly Float32Array<ArrayBuffer>[]): Built {
  const [xShape, wShape] = shapes('conv');
  const attributes = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] };
  const graph: OnnxGraph = {
    inputs: [{ name: 'x', shape: xShape! }],
    constants: [{ name: 'w', shape: wShape!, values: w! }],
    nodes: [{ op: 'Conv', inputs: ['x', 'w'], output: 'y', attributes }],
    output: { name: 'y', shape: works.conv.outputShape },
  };
  return { graph, feeds: [x!] };
}

function composedAttention([q, k, v]: readonly Float32Array<ArrayBuffer>[]): Built {
  const [shape] = shapes('attention') as [readonly number[]];
  const [b, heads, l, d] = shape as [number, number, number, number];
  const graph: OnnxGraph = {
    inputs: [
      { name: 'q', shape },
      { name: 'k', shape: [b, heads, d, l] },
      { name: 'v', shape },
    ],
    constants: [{ name: 'scale', shape: [1], values: Float32Array.of(1 / Math.sqrt(d)) }],
    nodes: [
      { op: 'Mul', inputs: ['q', 'scale'], output: 'scaled' },
      { op: 'MatMul', inputs: ['scaled', 'k'], output: 'scores' },
      { op: 'Softmax', inputs: ['scores'], output: 'weights' },
      { op: 'MatMul', inputs: ['weights', 'v'], output: 'y' },
    ],
    output: { name: 'y', shape },
  };
  return { graph, feeds: [q!, permute(k!, shape, [0, 1, 3, 2]), v!] };
}

function multiHeadAttention(inputs: readonly Float32Array<ArrayBuffer>[]): Built {
  const [shape] = shapes('attention') as [readonly number[]];
  const [b, heads, l, d] = shape as [number, number, number, number];
  const merged = [b, l, heads * d];
  const graph: OnnxGraph = {
    inputs: ['q', 'k', 'v'].map((name) => ({ name, shape: merged })),
    nodes: [
      {
        op: 'MultiHeadAttention',
        domain: 'com.microsoft',
        inputs: ['q', 'k', 'v'],
        output: 'y',
        attributes: { num_heads: heads },
      },
    ],
    output: { name: 'y', shape: merged },
  };
  return {
    graph,
    feeds: inputs.map((values) => permute(values, shape, [0, 2, 1, 3])),
    finish: (values) => permute(values, [b, l, heads, d], [0, 2, 1, 3]),
  };
}
