// Text to image with Stable Diffusion 1.x and 2.x. The loop is in latent-diffusion.ts.
// Reference: diffusers' StableDiffusionPipeline. A safety checker is not part of it unless the user adds one.

import type { OptionNames, Tensor } from '@darkroom/core';
import { checkCall, checkSize, checkUNetChannels, requireShape } from './check-call.ts';
import type { CheckedCall } from './check-call.ts';
import { embedPrompts } from './encode-prompts.ts';
import { LatentDiffusionPipeline } from './latent-diffusion.ts';
import type { CallInputs, Run } from './latent-diffusion.ts';
import { drawNoise, scaledNoise } from './noise.ts';
import { callOptionNames } from './options.ts';
import type { CallOptions, LoopTensors, StableDiffusionOutput } from './options.ts';
import { componentFolders } from './pipeline.ts';
import type { PipelineComponents } from './pipeline.ts';

export type StableDiffusionComponents = PipelineComponents;

export interface StableDiffusionOptions extends CallOptions {
  /** [images, channels, height/scale, width/scale], before scaling by the scheduler's initial sigma. */
  readonly latents?: Tensor;
}

const optionNames: OptionNames<StableDiffusionOptions> = {
  ...callOptionNames,
  latents: true,
};

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface StableDiffusionPipeline {
  (
    prompt: string | readonly string[] | undefined,
    options?: StableDiffusionOptions,
  ): Promise<StableDiffusionOutput>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionPipeline extends LatentDiffusionPipeline<StableDiffusionOptions> {
  static readonly className = 'StableDiffusionPipeline';
  static readonly folders: Readonly<Record<keyof StableDiffusionComponents, string>> = componentFolders;

  protected override readonly optionNames: OptionNames<StableDiffusionOptions> = optionNames;

  protected override check(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionOptions,
  ): CheckedCall {
    const call = checkCall(this, prompt, options, { guidanceScale: 7.5 });
    checkUNetChannels(this, [0]);
    const latentShape = checkSize(this, options, call.images);
    if (options.latents) requireShape('latents', options.latents, latentShape);
    return { ...call, latentShape };
  }

  protected override async inputs(_: CheckedCall, options: StableDiffusionOptions): Promise<CallInputs> {
    return this.givenTensors(options, ['promptEmbeds', 'negativePromptEmbeds', 'latents']);
  }

  protected override prepare(
    run: Omit<Run<CheckedCall, LoopTensors>, 'tensors'>,
    inputs: CallInputs,
  ): LoopTensors {
    const { call, schedule, generators } = run;
    const promptEmbeds = embedPrompts(this, call, inputs);
    const { device, computeDtype } = this;
    const noise = inputs['latents'] ?? drawNoise(generators, call.latentShape, computeDtype, device);
    return { promptEmbeds, latents: scaledNoise(noise, schedule) };
  }
}
