#!/usr/bin/env node
// The darkroom command. Each subcommand is a file.

import { Command } from 'commander';
import { devicesCommand } from './devices.ts';
import { generateCommand } from './generate.ts';
import { runProgram } from './program.ts';
import { traceCommand } from './trace.ts';

const program = new Command('darkroom')
  .description('Stable Diffusion in TypeScript: pictures from text, on a CPU or a GPU.')
  .version('0.1.0')
  .addCommand(generateCommand())
  .addCommand(traceCommand())
  .addCommand(devicesCommand())
  .addHelpText(
    'after',
    `
Examples:
  darkroom generate "a fox on a blue background" -o fox.png
  darkroom generate "a red car" --model ./stable-diffusion-v1-5 --dtype float16 --steps 30 --seed 1
  darkroom devices`,
  );

await runProgram(program);
