// The recorded op list is the work that our models do, and its floors are those derived by hand.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Tensor } from '@darkroom/core';
import { recordGraph } from '@darkroom/core/graph';
import { UNet2DConditionModel } from '@darkroom/diffusers';
import { tracedFlops } from '../pipeline.ts';
import { floorOf, fusedFloor, groupOfLabel, productFlops, readOpList } from './floor.ts';
import { sizes } from './models.ts';

const ops = readOpList(join(fileURLToPath(new URL('.', import.meta.url)), '../../torch'));

test('a UNet step of ours has the FLOPs of the recorded one', () => {
  const unet = UNet2DConditionModel.fromConfig(sizes.full.unet);
  const inputs = {
    sample: Tensor.abstract('float32', [2, 4, 64, 64]),
    text: Tensor.abstract('float32', [2, 77, 768]),
  };
  const { graph } = recordGraph(
    ({ sample, text }) => unet.call(sample!, 500, { encoderHiddenStates: text! }).sample,
    inputs,
    unet.stateDict(),
  );
  const recorded = ops.unet.reduce((sum, op) => sum + productFlops(op), 0);
  // Pointwise work and norms are a five-hundredth of it, and fused differently.
  expect(Math.abs(tracedFlops(graph) / recorded - 1)).toBeLessThan(0.005);
});

test('floors at 800 TFLOP/s and 3 TB/s: 2.25 ms a step, 3.2 ms for the picture', () => {
  const rates = { matmul: 800e12, copy: 3e12 };
  expect(fusedFloor(floorOf(ops.unet, 2, rates))).toBeCloseTo(2.25, 1);
  expect(fusedFloor(floorOf(ops.vae, 2, rates))).toBeCloseTo(3.2, 1);
  // All weights are read once: no step is shorter than that.
  expect(fusedFloor(floorOf(ops.unet, 2, { matmul: Infinity, copy: 3e12 }))).toBeGreaterThan(1.72e9 / 3e9);
});

test('kernels belong to groups by their op', () => {
  expect(
    ['conv2d/mma64x32x32', 'matmul/tiled', 'attention/mma', 'map/x', 'resize/x'].map(groupOfLabel),
  ).toEqual(['conv2d', 'matmul', 'attention', 'map', 'other']);
});
