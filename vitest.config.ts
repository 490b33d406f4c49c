import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const conditions = ['@darkroom/source'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: [
      'packages/*/src/**/*.test.ts',
      'docs/*/src/**/*.test.ts',
      'examples/*.test.ts',
      'scripts/**/*.test.ts',
    ],
    // A watchdog against hangs, far away: no verdict depends on how fast a machine is, and no test has a limit of its own.
    testTimeout: 1_800_000,
    hookTimeout: 1_800_000,
    pool: 'forks',
    // Vitest leaves a core to itself; of two that is half the machine.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
