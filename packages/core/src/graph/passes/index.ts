// The passes in the order they run. Each is in its own file, which states what it does to the numbers.

import type { Graph } from '../graph.ts';
import { eliminateDead } from './eliminate-dead.ts';
import { foldConstants } from './fold-constants.ts';
import { fuseEpilogue } from './fuse-epilogue.ts';
import { fuseMap } from './fuse-map.ts';
import { fuseNormActivation } from './fuse-norm-activation.ts';
import { fuseSharedMatmuls } from './fuse-shared-matmuls.ts';
import type { Pass } from './rewrite.ts';

export { channelsLast } from './channels-last.ts';
export { eliminateDead } from './eliminate-dead.ts';
export { fuseSharedMatmuls } from './fuse-shared-matmuls.ts';
export { sliceAttention } from './slice-attention.ts';
export type { SliceAttentionOptions } from './slice-attention.ts';
export type { Pass } from './rewrite.ts';

export const passes: readonly Pass[] = [
  eliminateDead, // first: views that change nothing hide chains
  foldConstants,
  fuseNormActivation,
  fuseEpilogue, // before maps join each other: a chain ends in its product if it can
  fuseSharedMatmuls, // after epilogues: a slice could take none, and a product that has one stays apart
  fuseMap,
  eliminateDead,
];

/** The graph after `list`, in order. */
export function optimize(graph: Graph, list: readonly Pass[] = passes): Graph {
  return list.reduce((g, pass) => pass.run(g), graph);
}
