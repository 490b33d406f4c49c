// darkroom generate: a prompt to PNG files, with the embedded model unless another is named.

import { Command } from 'commander';
import { ArgumentError, loadTraced } from '@darkroom/core';
import { UNetPipeline } from '@darkroom/diffusers';
import type { AnyPipeline } from '@darkroom/diffusers';
import { loadChosen, openChosen, withModelOptions } from './model.ts';
import type { ModelChoice } from './model.ts';
import { attentionSlice, integer, number, offload, seed } from './options.ts';
import { saveAll, tryOutputs } from './outputs.ts';
import { pipelineFor, readPictures, sizeOfPictures, switchMemory } from './task.ts';
import type { Draw, PictureOptions, TaskOptions } from './task.ts';

interface GenerateOptions extends TaskOptions, ModelChoice {
  readonly output: string;
  readonly steps: number;
  readonly guidance?: number;
  readonly negative?: string;
  readonly seed?: bigint;
  readonly count: number;
  readonly scheduler?: string;
  readonly tf32?: boolean;
  readonly autotune?: boolean;
  /** true: trace whole steps; a path: load the UNet's trace from there. */
  readonly trace?: true | string;
  readonly quiet?: boolean;
}

export function generateCommand(): Command {
  return withModelOptions(new Command('generate'))
    .description('make pictures from a prompt')
    .argument('[prompt]', 'what to draw')
    .option('-o, --output <file>', 'PNG to write; several images get -1, -2, … before the ending', 'out.png')
    .option('--image <file>', 'PNG to start from')
    .option('--mask <file>', 'PNG: white is painted anew, black is kept; with --image')
    .option(
      '--strength <0-1>',
      'how much of --image is replaced (default: 0.8, with --mask 1); runs so many of the steps',
      number,
    )
    .option('-n, --steps <n>', 'denoising steps', integer, 25)
    .option(
      '-g, --guidance <scale>',
      'classifier-free guidance; 1 switches it off (default: 4 for emoji-64, 5 for SDXL, else 7.5)',
      number,
    )
    .option('--negative <text>', 'what to avoid')
    .option('-s, --seed <n>', "torch's CPU seed (default: random, printed)", seed)
    .option('-c, --count <n>', 'images', integer, 1)
    .option('--width <px>', 'default: that of --image, else what the model was trained on', integer)
    .option('--height <px>', 'default: that of --image, else what the model was trained on', integer)
    .option(
      '--scheduler <class>',
      'as DDIMScheduler or EulerDiscreteScheduler (default: what the model names)',
    )
    .option('--vae-slicing', 'decode one picture of several at a time')
    .option('--vae-tiling [px]', "decode in tiles of this edge (default: the VAE's own)", integer)
    .option('--attention-slicing [heads]', 'auto | max | heads at a time (default: auto)', attentionSlice)
    .option('--no-memory-efficient-attention', 'hold the matrix of attention scores in memory')
    .option(
      '--offload <kind>',
      'model | sequential: weights stay in host memory until they are needed',
      offload,
    )
    .option('--channels-last', 'keep channels adjacent in memory; on by itself with CUDA')
    .option('--tf32', 'let float32 matrix products use tf32, as convolutions do anyway')
    .option('--autotune', 'time the kernels for these sizes first, and keep the winners for later runs')
    .option(
      '--trace [file]',
      'trace whole steps as they are drawn, or load the UNet that `darkroom trace` wrote',
    )
    .option('-q, --quiet', 'no progress, no summary')
    .addHelpText(
      'after',
      `
Examples:
  darkroom generate "a fox on a blue background" -o fox.png
  darkroom generate "a fox on a red background" --image fox.png --strength 0.7 -o red.png
  darkroom generate "a hat" --image fox.png --mask top.png -o hat.png
  darkroom generate "a pizza" --seed 7 --count 4 -o pizza.png
  darkroom generate "a castle" -m ./sd15 --dtype float16 --steps 30 --negative "blurry"`,
    )
    .action(async (prompt: string | undefined, options: GenerateOptions, command: Command) => {
      if (prompt === undefined) {
        process.stderr.write(
          'what shall the picture show?\n\n  npm start -- "a fox on a blue background" -o fox.png\n\n',
        );
        command.outputHelp({ error: true });
        process.exitCode = 2;
        return;
      }
      await generate(prompt, options);
    });
}

async function generate(prompt: string, options: GenerateOptions): Promise<void> {
  if (options.trace !== undefined && options.offload === 'sequential')
    throw new ArgumentError(
      '--trace: a trace replays with all weights on the device, and --offload sequential brings them layer by layer; ' +
        'leave one of them out, or take --offload model',
    );
  const pictures = await readPictures(options);
  await tryOutputs(options.output, options.count);
  const aborter = new AbortController();
  const stop = (): void => aborter.abort(new DOMException('interrupted', 'AbortError'));
  process.once('SIGINT', stop);
  const device = await openChosen(options);
  try {
    const say = (line: string): void => void (options.quiet || process.stderr.write(`${line}\n`));
    const loaded = await loadChosen(options, device, options.offload && 'host');
    const pipe = pipelineFor(loaded, pictures);
    const channelsLast = options.channelsLast ?? device.caps.convFormat === 'channelsLast';
    await switchMemory(pipe, { ...options, channelsLast });
    if (options.tf32) device.precision.matmul = 'tf32';
    if (options.scheduler) pipe.useScheduler(options.scheduler);
    if (options.quiet) pipe.setProgressBarConfig({ disable: true });
    const guidance = options.guidance ?? (options.model === undefined ? 4 : undefined);
    const draw = pipe as unknown as Draw;
    const call = {
      ...sizeOfPictures(pipe, pictures),
      numInferenceSteps: options.steps,
      ...(guidance !== undefined && { guidanceScale: guidance }),
      numImagesPerPrompt: options.count,
      signal: aborter.signal,
      ...(options.negative !== undefined && { negativePrompt: options.negative }),
      ...(options.seed !== undefined && { seed: options.seed }),
    };
    await tryOutputs(options.output, options.count, pixelsOf(pipe, call));
    if (options.autotune) {
      say('tuning: timing kernels for these sizes');
      device.autotune = 'full';
      await draw(prompt, { ...call, numInferenceSteps: 1 });
      say(`tuning: ${await device.tune()} kernels chosen`);
    }
    if (options.trace !== undefined) {
      if (options.trace === true) pipe.enableTracing();
      else if (pipe instanceof UNetPipeline)
        pipe.unet = await loadTraced(options.trace, { device, params: pipe.unet.stateDict!() });
      else
        throw new ArgumentError(`--trace: ${options.trace} holds a UNet, and a ${pipe.className} has none`);
    }
    device.resetPeakMemory();
    const start = performance.now();
    let steps = 0;
    const { images, seeds } = await draw(prompt, { ...call, callbackOnStepEnd: () => void steps++ });
    const seconds = (performance.now() - start) / 1000;
    for (const traced of pipe.tracedSteps) say(traced.summary());
    await saveAll(images, options.output, say);
    aborter.signal.throwIfAborted();
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    const resident = process.resourceUsage().maxRSS * 1024;
    say(
      `device ${device.name} (${device.caps.fingerprint}), seed ${seeds.join(', ')}, ${steps} steps, ` +
        `${(seconds / Math.max(1, steps)).toFixed(3)} s a step, ${seconds.toFixed(2)} s in all, ` +
        `peak memory ${mib(device.memory().peak)} in tensors, ${mib(resident)} in the process`,
    );
    pipe.dispose();
  } finally {
    process.removeListener('SIGINT', stop);
    device[Symbol.dispose]();
  }
}

/** Pixels of a picture, from the options or the model's default size. */
function pixelsOf(pipe: AnyPipeline, { width, height, image }: PictureOptions): number {
  const trained = pipe.defaultSize;
  const pixels = (width ?? image?.width ?? trained.width) * (height ?? image?.height ?? trained.height);
  return pixels > 0 ? pixels : 0;
}
