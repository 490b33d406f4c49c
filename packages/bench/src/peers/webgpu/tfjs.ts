// TensorFlow.js on its WebGPU backend.

import type { Candidate, Form } from './candidate.ts';
import type { GpuQueue } from './dawn.ts';
import { loadPeer } from './load.ts';
import { permute } from './permute.ts';
import { works } from './work.ts';
import type { WorkId } from './work.ts';

interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Tf {
  setBackend(name: 'webgpu'): Promise<boolean>;
  backend(): {
    readonly queue: GpuQueue;
    /** Open while dispatches wait; the backend also submits by itself, every 15 of them. */
    readonly commandEncoder: object | null;
    endComputePassEncoder(): void;
    submitQueue(): void;
  };
  env(): { set(flag: 'WEBGPU_CONV_SEPARATE_IM2COL_SHADER', value: boolean): void };
  tidy(f: () => TfTensor): TfTensor;
  tensor(values: Float32Array, shape: readonly number[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  mul(a: TfTensor, b: number): TfTensor;
  softmax(x: TfTensor): TfTensor;
  conv2d(
    x: TfTensor,
    w: TfTensor,
    stride: number,
    padding: 'same' | number,
    format: 'NHWC' | 'NCHW',
  ): TfTensor;
}

interface Placed {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}
function place(values: Float32Array, shape: readonly number[], order?: readonly number[]): Placed {
  return order
    ? { values: permute(values, shape, order), shape: order.map((axis) => shape[axis]!) }
    : { values, shape };
}

export async function openTfjs(): Promise<Candidate> {
  const tf = await loadPeer<Tf>('@tensorflow/tfjs-core');
  await loadPeer('@tensorflow/tfjs-backend-webgpu');
  if (!(await tf.setBackend('webgpu'))) throw new Error('tfjs: its WebGPU backend did not start');
  const backend = tf.backend();

  /** `orders` permutes each input's axes, `back` the result's. */
  const form = (
    name: string,
    work: WorkId,
    f: (...inputs: TfTensor[]) => TfTensor,
    orders: readonly (readonly number[])[] = [],
    back?: { readonly shape: readonly number[]; readonly order: readonly number[] },
  ): Form => ({
    name,
    async prepare(inputs) {
      const tensors = inputs.map((values, i) => {
        const placed = place(values, works[work].inputs[i]!.shape, orders[i]);
        return tf.tensor(placed.values, placed.shape);
      });
      const call = (): TfTensor => tf.tidy(() => f(...tensors));
      return {
        async run() {
          const y = call();
          if (backend.commandEncoder) {
            backend.endComputePassEncoder();
            backend.submitQueue();
          }
          await backend.queue.onSubmittedWorkDone();
          y.dispose();
        },
        async result() {
          const y = call();
          const values = await y.data();
          y.dispose();
          return back ? permute(values, back.shape, back.order) : values;
        },
        dispose: () => tensors.forEach((t) => t.dispose()),
      };
    },
  });

  const weightOrder = [2, 3, 1, 0]; // [h, w, in, out], whatever the image's format
  const toNhwc = [[0, 2, 3, 1], weightOrder];
  const fromNhwc = { shape: [1, 64, 64, 320], order: [0, 3, 1, 2] };
  const conv =
    (format: 'NHWC' | 'NCHW', im2col: boolean) =>
    (...[x, w]: TfTensor[]): TfTensor => {
      tf.env().set('WEBGPU_CONV_SEPARATE_IM2COL_SHADER', im2col);
      return tf.conv2d(x!, w!, 1, 'same', format);
    };
  return {
    includesReadback: false,
    forms: {
      matmul: [form('matMul', 'matmul', (a, b) => tf.matMul(a!, b!))],
      conv: [
        form('conv2d NHWC', 'conv', conv('NHWC', false), toNhwc, fromNhwc),
        form('conv2d NHWC, im2col flag', 'conv', conv('NHWC', true), toNhwc, fromNhwc),
        // Not NCHW without the flag: 4.22 computes it wrongly here (relative L2 1.15) where its vec4 kernel meets padding.
        form('conv2d NCHW, im2col flag', 'conv', conv('NCHW', true), [[0, 1, 2, 3], weightOrder]),
      ],
      attention: [
        form('matMul transposeB, softmax, matMul', 'attention', (q, k, v) =>
          tf.matMul(tf.softmax(tf.matMul(tf.mul(q!, 1 / Math.sqrt(40)), k!, false, true)), v!),
        ),
        form(
          'matMul of k transposed before, softmax, matMul',
          'attention',
          (q, k, v) => tf.matMul(tf.softmax(tf.matMul(tf.mul(q!, 1 / Math.sqrt(40)), k!)), v!),
          [
            [0, 1, 2, 3],
            [0, 1, 3, 2],
          ],
        ),
      ],
    },
  };
}
