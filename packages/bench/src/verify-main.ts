// The verify command alone: the entry of the GPU bundle, free of what only other benchmarks need.

import { verifyCommand } from './verify-command.ts';

await verifyCommand().parseAsync();
