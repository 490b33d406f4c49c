import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const conditions = ['@darkroom/source'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'docs/demo/src/**/*.test.ts', 'scripts/**/*.test.ts'],
    testTimeout: 300_000, // shaders and kernels compile in most of it, beside another file
    pool: 'forks',
    // Vitest leaves a core to itself; of two that is half the machine.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
