// bench pipeline: emoji-64 end to end, 25 steps with guidance: time a step, the share of it inside kernels, and the
// rate beside this device's own matmul.

import { matmul } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import type { Cost, KernelOp, Spec } from '@darkroom/core/backend';
import { definitionOf } from '@darkroom/core/backend';
import { recordGraph } from '@darkroom/core/graph';
import { StableDiffusionPipeline } from '@darkroom/diffusers';
import type { UNet2DConditionModel } from '@darkroom/diffusers';
import { measure } from './measure.ts';
import { randomTensor } from './random-weights.ts';

export interface PipelineResult {
  readonly msPerStep: number;
  readonly secondsPerImage: number;
  /** Part of the denoising time inside kernels; the rest is dispatch, allocation and waiting between steps. */
  readonly kernelShare: number;
  readonly outsideShare: number;
  readonly gflopPerStep: number;
  readonly gflops: number;
  readonly matmulGflops: number;
  readonly dispatchesPerStep: number;
  readonly slowest: readonly { readonly label: string; readonly calls: number; readonly ms: number }[];
}

/** FLOPs of a traced module: the sum of its ops' costs. */
export function tracedFlops(graph: ReturnType<typeof recordGraph>['graph']): number {
  const specs = new Map<number, Spec>();
  const spec = (v: {
    id: number;
    dtype: Spec['dtype'];
    shape: readonly number[];
    strides: readonly number[];
  }): void =>
    void specs.set(v.id, { dtype: v.dtype, layout: { shape: v.shape, strides: v.strides, offset: 0 } });
  for (const v of [...graph.inputs, ...graph.params, ...graph.constants]) spec(v);
  let flops = 0;
  for (const node of graph.nodes) {
    spec(node);
    if (['reshape', 'permute', 'expand', 'slice'].includes(node.op.kind)) continue;
    const op = node.op as KernelOp;
    const cost: Cost = definitionOf(op).cost(
      op,
      node.inputs.map((id) => specs.get(id)!),
    );
    flops += cost.flops;
  }
  return flops;
}

export async function benchPipeline(device: Device, model: string, steps = 25): Promise<PipelineResult> {
  const pipe = await StableDiffusionPipeline.fromPretrained(model, { device });
  pipe.setProgressBarConfig({ disable: true });
  const size = 1024;
  const [a, b] = [randomTensor([size, size], device), randomTensor([size, size], device)];
  const [product] = await measure([{ name: 'matmul', run: () => matmul(a, b).dispose() }], {
    rounds: 2,
    seconds: 0.3,
  });
  const call = { numInferenceSteps: steps, guidanceScale: 4, seed: 1 };
  await pipe('a fox', call); // warm up: kernels are compiled
  let first = 0;
  let last = 0;
  let count = 0;
  device.profile.reset();
  device.profile.enabled = true;
  let kernelMs = 0;
  const start = performance.now();
  await pipe('a fox', {
    ...call,
    callbackOnStepEnd: () => {
      last = performance.now();
      if (count++ === 0) {
        first = last;
        device.profile.reset();
      }
      kernelMs = device.profile.kernelMs;
    },
  });
  const secondsPerImage = (performance.now() - start) / 1000;
  const slowest = device.profile.report();
  device.profile.enabled = false;
  const loopMs = last - first;
  const timed = count - 1;
  const unet = pipe.unet as UNet2DConditionModel;
  const inputs: Record<string, Tensor> = {
    sample: randomTensor([2, 4, 16, 16], device),
    text: randomTensor([2, 77, 128], device),
  };
  const { graph } = recordGraph(
    ({ sample, text }) => unet.call(sample!, 500, { encoderHiddenStates: text! }).sample,
    inputs,
    unet.stateDict(),
  );
  const flops = tracedFlops(graph);
  pipe.dispose();
  return {
    msPerStep: loopMs / timed,
    secondsPerImage,
    kernelShare: kernelMs / loopMs,
    outsideShare: 1 - kernelMs / loopMs,
    gflopPerStep: flops / 1e9,
    gflops: flops / (loopMs / timed) / 1e6,
    matmulGflops: (2 * size ** 3) / product!.fastestMs / 1e6,
    dispatchesPerStep: Math.round(slowest.reduce((n, k) => n + k.calls, 0) / timed),
    slowest: slowest.slice(0, 12),
  };
}
