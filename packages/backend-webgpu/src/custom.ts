// A user's own WGSL. `sources.webgpu` is a whole module: storage bindings 1… of group 0 are the inputs in order and the
// output last (each starts at its tensor's first element), the entry point is `main` with a workgroup size of 64, and
// `foldWidth` workgroups make a row of the dispatch; one invocation is started for each output element.

import { elementCount } from '@darkroom/core/backend';
import type { ArgSpec, CustomOp } from '@darkroom/core/backend';
import { groupsFor } from '@darkroom/gpu-kernels';
import type { ProgramSource } from './wgsl.ts';

export function customSource(op: CustomOp, args: readonly ArgSpec[]): ProgramSource | undefined {
  const code = op.sources['webgpu'];
  if (code === undefined) return undefined;
  return { label: `custom/${op.name}`, code, signature: `${'r'.repeat(args.length - 1)}w` };
}

/** Workgroups of a user's kernel. */
export const customGroups = (args: readonly ArgSpec[]): number =>
  groupsFor(elementCount(args.at(-1)!.layout.shape));
