// Which op kinds have fast kernels. The others run the reference: conv2d itself goes by Winograd here where that pays.

import type { KernelOp } from '@darkroom/core';
import type { Factory } from './kernel.ts';
import { gatherFactory, resizeFactory } from './moves.ts';
import { copyFactory, fillFactory, mapFactory } from './pointwise.ts';
import { attentionFactory, conv2dFactory, matmulFactory } from './products.ts';
import { groupNormFactory, layerNormFactory, reduceFactory, rmsNormFactory, softmaxFactory } from './rows.ts';

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
