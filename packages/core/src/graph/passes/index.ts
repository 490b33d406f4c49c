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

/** Where the passes that devices ask for stand. */
const before: readonly Rewrite['pass'][] = ['channelsLast'];

function passOf(rewrite: Rewrite): Pass {
  if (rewrite.pass === 'winograd') return winograd(rewrite.options);
  return rewrite.pass === 'channelsLast' ? channelsLast : outputsAdjacent;
}

/**
 * What a trace on a device of these caps runs: the passes above and, where the device asks for more (Caps.rewrites), those
 * that bring images and weights into its layouts, and Winograd's method. Elsewhere formats stay as the module has them: on
 * tensor cores they decide whether tf32 is used. `keepsWeights`: copies of weights may be kept from call to call.
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

/** Bytes of weights made anew that a pass for speed may cost without being asked for: all of a small model's, not SD 1.5's. */
const smallCopies = 256 << 20;

/** The pass, where the weights that it makes anew are small. */
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
