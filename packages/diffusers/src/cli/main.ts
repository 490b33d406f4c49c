#!/usr/bin/env node
// The darkroom command. Each subcommand is a file; this one parses, prints errors in one line and sets exit codes:
// 0 done, 1 failed, 2 wrong usage, 130 interrupted.

import { Command, CommanderError } from 'commander';
import { DarkroomError } from '@darkroom/core';
import { conformanceCommand } from './conformance.ts';
import { devicesCommand } from './devices.ts';
import { generateCommand } from './generate.ts';
import { traceCommand } from './trace.ts';

const program = new Command('darkroom')
  .description('Stable Diffusion in TypeScript: pictures from text, on a CPU or a GPU.')
  .version('0.1.0')
  .exitOverride()
  .addCommand(generateCommand())
  .addCommand(traceCommand())
  .addCommand(devicesCommand())
  .addCommand(conformanceCommand())
  .addHelpText(
    'after',
    `
Examples:
  darkroom generate "a fox on a blue background" -o fox.png
  darkroom generate "a red car" --model ./stable-diffusion-v1-5 --dtype float16 --steps 30 --seed 1
  darkroom devices
  darkroom conformance goldens/public --filter op/conv2d`,
  );

for (const command of program.commands) command.exitOverride();

// A reader that closes early (`| head`) ends us quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

async function main(): Promise<number> {
  try {
    await program.parseAsync();
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof Error && error.name === 'AbortError') {
      process.stderr.write('\ninterrupted\n');
      return 130;
    }
    if (error instanceof DarkroomError || (error as { code?: string }).code) {
      process.stderr.write(`darkroom: ${(error as Error).message}\n`);
      return 1;
    }
    throw error;
  }
}

process.exitCode = await main();
