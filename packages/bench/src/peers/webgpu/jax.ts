// jax-js on its WebGPU backend.

import type { Candidate, Form } from './candidate.ts';
import type { GpuDevice } from './dawn.ts';
import { loadPeer } from './load.ts';
import { permute } from './permute.ts';
import { works } from './work.ts';
import type { WorkId } from './work.ts';

/** An operation consumes its arguments; `ref` is one more use of the same array. */
interface JaxArray {
  readonly ref: JaxArray;
  data(): Promise<Float32Array>;
  /** Submits what is pending and gives up this use. */
  gpuBuffer(): Promise<unknown>;
  dispose(): void;
  mul(factor: number): JaxArray;
  transpose(order: readonly number[]): JaxArray;
}
type Operation = (...args: JaxArray[]) => JaxArray;
interface Jax {
  init(device: 'webgpu'): Promise<readonly string[]>;
  defaultDevice(device: 'webgpu'): void;
  getWebGPUDevice(): GpuDevice;
  jit(f: Operation): Operation;
  readonly numpy: {
    array(values: Float32Array, options: { shape: readonly number[] }): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
  };
  readonly lax: {
    convGeneralDilated(x: JaxArray, w: JaxArray, strides: readonly number[], padding: 'SAME'): JaxArray;
  };
  readonly nn: {
    softmax(x: JaxArray, axis: number): JaxArray;
    dotProductAttention(q: JaxArray, k: JaxArray, v: JaxArray): JaxArray;
  };
}

/** jax-js's einsum needs iterators' map and filter, which Node has from 22 on. */
function completeIterators(): void {
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([].values())) as {
    map?: unknown;
    filter?: unknown;
  };
  prototype.map ??= function* <T>(this: Iterable<T>, f: (item: T) => unknown) {
    for (const item of this) yield f(item);
  };
  prototype.filter ??= function* <T>(this: Iterable<T>, keep: (item: T) => boolean) {
    for (const item of this) if (keep(item)) yield item;
  };
}

export async function openJax(): Promise<Candidate> {
  completeIterators();
  const jax = await loadPeer<Jax>('@jax-js/jax');
  if (!(await jax.init('webgpu')).includes('webgpu'))
    throw new Error('jax-js: its WebGPU backend did not start');
  jax.defaultDevice('webgpu');
  const { numpy, lax, nn } = jax;

  /** `order` permutes every input's axes, and the result's back. */
  const form = (name: string, work: WorkId, f: Operation, order?: readonly number[]): Form => ({
    name,
    async prepare(inputs) {
      const arrays = inputs.map((values, i) => {
        const { shape } = works[work].inputs[i]!;
        return order
          ? numpy.array(permute(values, shape, order), { shape: order.map((axis) => shape[axis]!) })
          : numpy.array(values, { shape });
      });
      const { queue } = jax.getWebGPUDevice();
      const call = (): JaxArray => f(...arrays.map((a) => a.ref));
      return {
        async run() {
          await call().gpuBuffer();
          await queue.onSubmittedWorkDone();
        },
        async result() {
          const values = await call().data();
          if (!order) return values;
          const shape = order.map((axis) => works[work].outputShape[axis]!);
          const back = order.map((_, axis) => order.indexOf(axis));
          return permute(values, shape, back);
        },
        dispose: () => arrays.forEach((a) => a.dispose()),
      };
    },
  });

  const composed: Operation = (q, k, v) => {
    const scores = numpy.matmul(q!.mul(1 / Math.sqrt(40)), k!.transpose([0, 1, 3, 2]));
    return numpy.matmul(nn.softmax(scores, -1), v!);
  };
  const fused: Operation = (q, k, v) => nn.dotProductAttention(q!, k!, v!);
  const headsInside = [0, 2, 1, 3];
  return {
    includesReadback: false,
    forms: {
      matmul: [form('numpy.matmul', 'matmul', (a, b) => numpy.matmul(a!, b!))],
      conv: [
        form('lax.convGeneralDilated', 'conv', (x, w) => lax.convGeneralDilated(x!, w!, [1, 1], 'SAME')),
      ],
      attention: [
        form('nn.dotProductAttention', 'attention', fused, headsInside),
        form('jit nn.dotProductAttention', 'attention', jax.jit(fused), headsInside),
        form('jit matmul, softmax, matmul', 'attention', jax.jit(composed)),
      ],
    },
  };
}
