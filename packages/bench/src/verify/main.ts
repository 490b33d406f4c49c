// The verify command alone: the entry of the GPU bundle, free of what only other benchmarks need.

import { verifyCommand } from './command.ts';

await verifyCommand().parseAsync();
