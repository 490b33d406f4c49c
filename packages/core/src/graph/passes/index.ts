// The passes in the order they run. Each is in its own file, which states what it does to the numbers.

import type { Caps, Rewrite } from '../../backend.ts';
import { elementCount } from '../../layout.ts';
import { dtypes } from '../../dtype.ts';
import type { Graph } from '../graph.ts';
import { channelsLast } from './channels-last.ts';
import { eliminateDead } from './eliminate-dead.ts';
import { foldConstants } from './fold-constants.ts';
import { fuseEpilogue } from './fuse-epilogue.ts';
import { fuseMap } from './fuse-map.ts';
import { fuseNormActivation } from './fuse-norm-activation.ts';
import { fuseSharedMatmuls } from './fuse-shared-matmuls.ts';
import { outputsAdjacent } from './outputs-adjacent.ts';
import { isView } from '../../ops/views.ts';
import { steadyValues } from './rewrite.ts';
import type { Pass } from './rewrite.ts';
import { winograd } from './winograd.ts';

export { channelsLast } from './channels-last.ts';
export { eliminateDead } from './eliminate-dead.ts';
export { fuseSharedMatmuls } from './fuse-shared-matmuls.ts';
export { outputsAdjacent } from './outputs-adjacent.ts';
export { sliceAttention } from './slice-attention.ts';
export type { SliceAttentionOptions } from './slice-attention.ts';
export type { Pass } from './rewrite.ts';
export { winograd } from './winograd.ts';
export type { WinogradOptions } from './winograd.ts';

/** Passes of every device, in order. */
function commonPasses(maxBindings?: number): readonly Pass[] {
  return [
    eliminateDead, // first: views that change nothing hide chains
    foldConstants,
    fuseNormActivation,
    fuseEpilogue(maxBindings), // before maps join each other: a chain ends in its product if it can
    fuseSharedMatmuls, // after epilogues: a slice could take none, and a product that has one stays apart
    fuseMap,
    eliminateDead,
  ];
}

/** Passes that every device profits from, in the order they run. */
export const passes: readonly Pass[] = commonPasses();

/** Passes of Caps.rewrites that run before the common passes; the others run after them. */
const before: readonly Rewrite['pass'][] = ['channelsLast'];

function passOf(rewrite: Rewrite): Pass {
  if (rewrite.pass === 'winograd') return winograd(rewrite.options);
  return rewrite.pass === 'channelsLast' ? channelsLast : outputsAdjacent;
}

/**
 * The passes of a trace on a device of these caps: the common ones and those that Caps.rewrites asks for. Other devices
 * keep the module's formats, which decide on tensor cores whether tf32 is used. `keepsWeights`: copies of weights may
 * be kept from call to call.
 */
export function passesFor(
  caps: Pick<Caps, 'rewrites' | 'maxBindings'> | undefined,
  keepsWeights: boolean,
): readonly Pass[] {
  const common = caps ? commonPasses(caps.maxBindings) : passes;
  if (!keepsWeights) return common.filter((pass) => pass !== fuseSharedMatmuls);
  const asked = (first: boolean): Pass[] =>
    (caps?.rewrites ?? [])
      .filter(({ pass }) => before.includes(pass) === first)
      .map((rewrite) => ifSmall(passOf(rewrite)));
  const after = asked(false);
  return [...asked(true), ...common, ...after, ...(after.length > 0 ? [eliminateDead] : [])];
}

/** Bytes of copied weights that a pass may add by default: enough for all of a small model, not for SD 1.5. */
const smallCopies = 256 << 20;

/** `pass`, applied only if the weights that it copies are small. */
function ifSmall(pass: Pass): Pass {
  return {
    ...pass,
    run(graph) {
      const after = pass.run(graph);
      return madeBytes(after) - madeBytes(graph) <= smallCopies ? after : graph;
    },
  };
}

function madeBytes(graph: Graph): number {
  const steady = steadyValues(graph);
  const made = graph.nodes.filter(({ id, op }) => !isView(op) && steady.has(id));
  return made.reduce((sum, { shape, dtype }) => sum + elementCount(shape) * dtypes[dtype].bytes, 0);
}

/** The graph after `list`, in order. */
export function optimize(graph: Graph, list: readonly Pass[] = passes): Graph {
  return list.reduce((g, pass) => pass.run(g), graph);
}
