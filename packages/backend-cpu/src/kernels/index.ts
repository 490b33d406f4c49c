// Which op kinds have fast kernels. The others run the reference: conv2d itself goes by Winograd here where that pays.

import type { KernelOp } from '@darkroom/core';
import { attentionFactory } from './attention.ts';
import { conv2dFactory } from './conv2d.ts';
import { copyFactory } from './copy.ts';
import { fillFactory } from './fill.ts';
import { gatherFactory } from './gather.ts';
import { groupNormFactory } from './group-norm.ts';
import type { Factory } from './kernel.ts';
import { layerNormFactory } from './layer-norm.ts';
import { mapFactory } from './map.ts';
import { matmulFactory } from './matmul.ts';
import { reduceFactory } from './reduce.ts';
import { resizeFactory } from './resize.ts';
import { rmsNormFactory } from './rms-norm.ts';
import { softmaxFactory } from './softmax.ts';

const none: Factory = {
  choices: () => [],
  prepare: (_, op) => {
    throw new Error(`internal: ${op.kind} has no fast kernel`);
  },
};

const factories: { readonly [K in KernelOp['kind']]: Factory<Extract<KernelOp, { kind: K }>> } = {
  map: mapFactory,
  copy: copyFactory,
  fill: fillFactory,
  matmul: matmulFactory,
  conv2d: conv2dFactory,
  attention: attentionFactory,
  softmax: softmaxFactory,
  groupNorm: groupNormFactory,
  layerNorm: layerNormFactory,
  rmsNorm: rmsNormFactory,
  gather: gatherFactory,
  resize: resizeFactory,
  reduce: reduceFactory,
  random: none,
  winograd: none,
  custom: none,
};

export function factoryOf(op: KernelOp): Factory {
  return factories[op.kind] as unknown as Factory;
}
