// Every op kind's definition by name: for graphs read from a file and for tests. A forgotten kind does not compile.

import type { OpDefinition } from '../dispatch.ts';
import type { KernelOp } from '../op.ts';
import { attentionDefinition } from './attention.ts';
import { conv2dDefinition } from './conv2d.ts';
import { copyDefinition } from './copy.ts';
import { customDefinition } from './custom.ts';
import { fillDefinition } from './fill.ts';
import { gatherDefinition } from './gather.ts';
import { mapDefinition } from './map.ts';
import { matmulDefinition } from './matmul.ts';
import { groupNormDefinition, layerNormDefinition, rmsNormDefinition } from './norm.ts';
import { randomDefinition } from './random.ts';
import { reduceDefinition } from './reduce.ts';
import { resizeDefinition } from './resize.ts';
import { softmaxDefinition } from './softmax.ts';
import { winogradDefinition } from './winograd.ts';

type Definitions = { readonly [K in KernelOp['kind']]: OpDefinition<Extract<KernelOp, { kind: K }>> };

const definitions: Definitions = {
  map: mapDefinition,
  reduce: reduceDefinition,
  matmul: matmulDefinition,
  conv2d: conv2dDefinition,
  winograd: winogradDefinition,
  attention: attentionDefinition,
  softmax: softmaxDefinition,
  groupNorm: groupNormDefinition,
  layerNorm: layerNormDefinition,
  rmsNorm: rmsNormDefinition,
  gather: gatherDefinition,
  copy: copyDefinition,
  fill: fillDefinition,
  resize: resizeDefinition,
  random: randomDefinition,
  custom: customDefinition(),
};

/** The rules of a kind. */
export function definitionOf<O extends KernelOp>(op: O): OpDefinition<O> {
  return definitions[op.kind] as unknown as OpDefinition<O>;
}
