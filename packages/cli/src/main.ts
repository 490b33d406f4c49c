#!/usr/bin/env node
// The darkroom command. Each subcommand is a file.

import { Command } from 'commander';
import { version } from '@darkroom/diffusers';
import { inspectCommand } from './again.ts';
import { completionCommand } from './completion.ts';
import { devicesCommand } from './devices.ts';
import { doctorCommand } from './doctor.ts';
import { generateCommand } from './generate.ts';
import { withOptionalValues } from './optional-values.ts';
import { runProgram } from './program.ts';
import { subjectsCommand } from './subjects.ts';
import { traceCommand } from './trace.ts';

const program = new Command('darkroom')
  .description('Stable Diffusion in TypeScript: pictures from text, on a CPU or a GPU.')
  .version(version)
  .addCommand(generateCommand())
  .addCommand(traceCommand())
  .addCommand(inspectCommand())
  .addCommand(subjectsCommand())
  .addCommand(devicesCommand())
  .addCommand(doctorCommand())
  .addCommand(completionCommand())
  .addHelpText(
    'after',
    `
Examples:
  darkroom generate "a fox on a blue background" -o fox.png
  darkroom generate "a red car" --model ./stable-diffusion-v1-5 --dtype float16 --steps 30 --seed 1
  darkroom inspect fox.png
  darkroom doctor

Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.`,
  );

await runProgram(program, withOptionalValues(process.argv.slice(2)));
