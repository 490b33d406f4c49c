// darkroom generate: its options, and what they come to together with a config file and a picture to draw again.

import { Command, Option } from 'commander';
import { pictureFormats, schedulerAliases } from '@darkroom/diffusers';
import { applyPicture } from './again.ts';
import type { Again } from './again.ts';
import { applyConfig } from './config.ts';
import { draw } from './draw.ts';
import type { DrawOptions } from './draw.ts';
import { withModelOptions } from './model.ts';
import * as parse from './options.ts';
import { offloads } from './task.ts';
import { readPrompts } from './prompts.ts';
import { UsageError } from './usage.ts';

interface GenerateOptions extends DrawOptions {
  readonly promptFile?: string;
  readonly from?: string;
  readonly config?: string;
}

export function generateCommand(): Command {
  return withMemoryOptions(withPictureOptions(withModelOptions(new Command('generate'))))
    .description('make pictures from a prompt')
    .argument('[prompt]', "what to draw; '-' reads it from standard input")
    .option('--config <file>', 'JSON with options by their long names; the command line comes first')
    .option('-q, --quiet', 'no progress, no summary: the seed alone')
    .option('--json', 'the result as JSON on standard output')
    .addHelpText(
      'after',
      `
Schedulers: ${Object.keys(schedulerAliases).join(', ')}.

Examples:
  darkroom generate "a fox on a blue background" -o fox.png
  darkroom generate "a fox on a red background" --image fox.png --strength 0.7 -o red.jpg --quality 95
  darkroom generate "a hat" --image fox.png --mask top.png -o hat.png
  darkroom generate "a pizza" --seed 7 --count 4 -o pizza.webp
  darkroom generate --from pizza-2.webp --steps 50 -o finer.png
  darkroom generate "a castle" -m ./sd15 --dtype float16 --steps 30 --negative "blurry"`,
    )
    .action(run);
}

function withPictureOptions(command: Command): Command {
  return command
    .option('--prompt-file <file>', "a prompt in each line; '-' reads standard input")
    .option('--from <picture>', 'draw a picture again from what it tells; other options override')
    .option(
      '-o, --output <file>',
      "PNG, JPEG or WebP by its ending; several get -1, -2, … before it; '-': standard output",
      'out.png',
    )
    .addOption(new Option('--format <name>', 'where the ending does not say').choices(pictureFormats))
    .option('--quality <1-100>', 'of JPEG and WebP (default: 90)', parse.quality)
    .option('--no-parameters', 'write pixels alone, without how they were drawn')
    .option('--grid', 'all pictures in one')
    .option('--image <file>', 'picture to start from: PNG, JPEG or WebP')
    .option('--mask <file>', 'picture: white is painted anew, black is kept; with --image')
    .option(
      '--strength <0-1>',
      'how much of --image is replaced (default: 0.8, with --mask 1); runs so many of the steps',
      parse.strength,
    )
    .option('-n, --steps <n>', 'denoising steps', parse.count, 25)
    .option(
      '-g, --guidance <scale>',
      'classifier-free guidance; 1 switches it off (default: 4 for emoji-64, 5 for SDXL, else 7.5)',
      parse.number,
    )
    .option('--negative <text>', 'what to avoid')
    .option(
      '-s, --seed <n>',
      "torch's CPU seed; further pictures take the next ones (default: random, printed)",
      parse.seed,
    )
    .option('-c, --count <n>', 'images of each prompt', parse.count, 1)
    .option('--width <px>', 'default: that of --image, else what the model was trained on', parse.count)
    .option('--height <px>', 'default: that of --image, else what the model was trained on', parse.count)
    .option(
      '--scheduler <name>',
      'as euler_a, or a class as DDIMScheduler (default: what the model names)',
      parse.scheduler,
    );
}

function withMemoryOptions(command: Command): Command {
  return command
    .option('--vae-slicing', 'decode one picture of several at a time')
    .option('--vae-tiling [px]', "decode in tiles of this edge (default: the VAE's own)", parse.tiling)
    .option(
      '--attention-slicing [heads]',
      'auto | max | heads at a time (default: auto)',
      parse.attentionSlice,
    )
    .option('--no-memory-efficient-attention', 'hold the matrix of attention scores in memory')
    .addOption(
      new Option('--offload <kind>', 'model | sequential: weights stay in host memory until they are needed')
        .choices(offloads)
        .argParser(parse.offload),
    )
    .option('--channels-last', 'keep channels adjacent in memory; on by itself with CUDA')
    .option('--tf32', 'let float32 matrix products use tf32, as convolutions do anyway')
    .option('--autotune', 'time the kernels for these sizes first, and keep the winners for later runs')
    .option(
      '--trace [file]',
      'trace whole steps as they are drawn, or load the UNet that `darkroom trace` wrote (.json)',
      parse.traceFile,
    );
}

async function run(argument: string | undefined, _: object, command: Command): Promise<void> {
  const given = command.opts<GenerateOptions>();
  const config = given.config === undefined ? undefined : await applyConfig(command, given.config);
  const { from, promptFile } = command.opts<GenerateOptions>();
  const again: Again | undefined = from === undefined ? undefined : await applyPicture(command, from);
  const prompt = argument ?? (promptFile === undefined ? (config ?? again?.prompt) : undefined);
  if (prompt === undefined && promptFile === undefined) {
    process.stderr.write(
      'what shall the picture show?\n\n  npm start -- "a fox on a blue background" -o fox.png\n\n',
    );
    command.outputHelp({ error: true });
    process.exitCode = 2;
    return;
  }
  const options = command.opts<GenerateOptions>();
  check(options);
  const prompts = await readPrompts(prompt, promptFile);
  const isAlone = options.count === 1 && prompts.length === 1;
  await draw(
    prompts,
    options,
    again && { tacit: again.tacit, ...(isAlone && again.batch && { batch: again.batch }) },
  );
}

/** @throws UsageError for options that do not go together */
function check(options: DrawOptions): void {
  if (options.trace !== undefined && options.offload === 'sequential')
    throw new UsageError(
      '--trace: a trace replays with all weights on the device, and --offload sequential brings them layer by layer; ' +
        'leave one of them out, or take --offload model',
    );
  if (options.mask !== undefined && options.image === undefined)
    throw new UsageError('--mask: says what to paint anew in a picture; give that with --image');
  if (options.strength !== undefined && options.image === undefined)
    throw new UsageError('--strength: says how much of a picture to replace; give that with --image');
}
