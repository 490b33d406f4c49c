// A user's own WGSL. `sources.webgpu` is a whole module: storage bindings 1… of group 0 are the inputs in order and the
// output last (each starts at its tensor's first element), the entry point is `main` with a workgroup size of 64, and
// `foldWidth` workgroups make a row of the dispatch; one invocation is started for each output element.

import { elementCount } from '@darkroom/core';
import type { CustomOp } from '@darkroom/core';
import type { KernelFactory } from './kernel.ts';
import { flatThreads, groupsFor } from './kernel.ts';

export const custom: KernelFactory<CustomOp> = {
  choices: (op) => (op.sources['webgpu'] === undefined ? [] : [`custom ${op.name}`]),
  prepare(op, args) {
    const code = op.sources['webgpu']!;
    const count = elementCount(args.at(-1)!.layout.shape);
    return {
      passes: [
        {
          source: { label: `custom/${op.name}`, code, signature: `${'r'.repeat(args.length - 1)}w` },
          bindings: args.map((_, arg) => ({ arg, piece: 0 })),
          params: new Uint32Array(4),
          offsets: [],
          scalars: [],
          groups: groupsFor(count, flatThreads),
        },
      ],
    };
  },
};
