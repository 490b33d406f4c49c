// The entry of the GPU bundle: verify, and the guide's tables, free of what only other benchmarks need.

import { Command } from 'commander';
import { compareCommand, tableCommand } from '../table/command.ts';
import { verifyCommand } from './command.ts';

await new Command('bench')
  .addCommand(verifyCommand(), { isDefault: true })
  .addCommand(tableCommand())
  .addCommand(compareCommand())
  .parseAsync();
