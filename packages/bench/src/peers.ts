// bench peers: our matmul and convolution beside ONNX Runtime's, same inputs, same run, interleaved; results compared.

import { conv2d, matmul, tensor } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { relativeL2 } from '@darkroom/core/testing';
import { cpu } from '@darkroom/backend-cpu';
import { measure } from './measure.ts';
import type { Candidate, Timing } from './measure.ts';
import { onnxConv, onnxMatmul } from './peers/onnx.ts';

export interface PeerRow extends Timing {
  readonly work: string;
  readonly gflops: number;
}

const random = (n: number): Float32Array => Float32Array.from({ length: n }, () => Math.random() - 0.5);

/** Results of two libraries on the same float32 work differ by rounding only. */
const agreement = 1e-5;

async function agree(work: string, ours: Tensor, theirs: Promise<Float32Array>): Promise<void> {
  const distance = relativeL2(await ours.data(), await theirs);
  if (!(distance <= agreement))
    throw new Error(`${work}: our result and the peer's differ by ${distance} (relative L2)`);
}

function ours(device: Device, threads: number, work: () => Tensor): Candidate {
  return {
    name: `darkroom ${threads} thread${threads > 1 ? 's' : ''}`,
    async run() {
      work().dispose();
      await device.idle();
    },
  };
}

export async function benchPeers(options: { seconds: number; rounds: number }): Promise<PeerRow[]> {
  const rows: PeerRow[] = [];
  const devices = new Map([
    [1, await cpu({ threads: 1 })],
    [2, await cpu({ threads: 2 })],
  ]);
  const record = (work: string, flops: number, timings: readonly Timing[]): void => {
    for (const t of timings) rows.push({ work, ...t, gflops: flops / t.fastestMs / 1e6 });
  };

  const size = 1024;
  const [a, b] = [random(size * size), random(size * size)];
  const [x, w] = [random(320 * 64 * 64), random(320 * 320 * 9)];
  const matmulWork = { m: size, k: size, n: size, a, b };
  const convWork = { x, xShape: [1, 320, 64, 64], w, wShape: [320, 320, 3, 3], pad: 1 };
  const matmuls: Candidate[] = [];
  const convs: Candidate[] = [];
  for (const [threads, device] of devices) {
    const [ta, tb] = [tensor(a, { shape: [size, size], device }), tensor(b, { shape: [size, size], device })];
    const [tx, tw] = [
      tensor(x, { shape: convWork.xShape, device }),
      tensor(w, { shape: convWork.wShape, device }),
    ];
    const native = await onnxMatmul('node', threads, matmulWork);
    const nativeConv = await onnxConv('node', threads, convWork);
    const product = matmul(ta, tb);
    await agree('matmul', product, native.result());
    const image = conv2d(tx, tw, { padding: 1 });
    await agree('conv2d', image, nativeConv.result());
    product.dispose();
    image.dispose();
    matmuls.push(
      ours(device, threads, () => matmul(ta, tb)),
      native,
    );
    convs.push(
      ours(device, threads, () => conv2d(tx, tw, { padding: 1 })),
      nativeConv,
    );
    if (threads === 1) {
      matmuls.push(await onnxMatmul('web', 1, matmulWork));
      convs.push(await onnxConv('web', 1, convWork));
    }
  }
  record('matmul 1024x1024x1024', 2 * size ** 3, await measure(matmuls, options));
  record('conv2d 3x3 320x320 64x64', 2 * 4096 * 320 * 320 * 9, await measure(convs, options));
  for (const device of devices.values()) device[Symbol.dispose]();
  return rows;
}
