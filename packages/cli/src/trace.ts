// darkroom trace: records a model's UNet for one size of picture, and writes it for `darkroom generate --trace`.

import { Command } from 'commander';
import { ArgumentError, trace } from '@darkroom/core';
import { measureRates } from '@darkroom/core/backend';
import { printPlan } from '@darkroom/core/graph';
import { tryWriting } from '@darkroom/core/node';
import { unetInputs, UNetPipeline } from '@darkroom/diffusers';
import { loadChosen, openChosen, withModelOptions } from './model.ts';
import type { ModelChoice } from './model.ts';
import { count } from './options.ts';
import { Progress, progressOfLoading } from './progress.ts';

interface TraceCommandOptions extends ModelChoice {
  readonly output: string;
  readonly count: number;
  readonly width?: number;
  readonly height?: number;
  readonly guidance: boolean;
  readonly plan?: boolean;
}

export function traceCommand(): Command {
  return withModelOptions(new Command('trace'))
    .description("record and optimise a model's UNet for one size of picture")
    .option('-o, --output <file>', 'file to write', 'unet.graph.json')
    .option('-c, --count <n>', 'images of one call', count, 1)
    .option('--width <px>', 'default: what the model was trained on', count)
    .option('--height <px>', 'default: what the model was trained on', count)
    .option('--no-guidance', 'for a guidance scale of 1: the batch is not doubled')
    .option('--plan', 'print every step with its kernel and its place in memory')
    .action(run);
}

async function run(options: TraceCommandOptions): Promise<void> {
  await tryWriting([options.output], 4096);
  const device = await openChosen(options);
  try {
    const progress = new Progress(process.stderr);
    const pipe = await loadChosen(options, device, undefined, progressOfLoading(progress));
    progress.clear();
    if (!(pipe instanceof UNetPipeline))
      throw new ArgumentError(`darkroom trace: records UNets, and a ${pipe.className} has none`);
    const { width, height, count: images, guidance: guided } = options;
    const traced = await trace(pipe.unet, unetInputs(pipe, { width, height, images, guided }));
    if (options.plan) for (const plan of traced.plans) process.stdout.write(`${printPlan(plan)}\n`);
    const rates = await measureRates(device, [pipe.computeDtype]);
    process.stderr.write(`${traced.summary(rates)}\n`);
    await traced.save(options.output);
    process.stderr.write(`wrote ${options.output}\n`);
    traced.dispose();
    pipe.dispose();
  } finally {
    device[Symbol.dispose]();
  }
}
