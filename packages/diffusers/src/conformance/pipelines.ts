// Cases of kind 'pipeline': the whole of a call, latents after every step and the final images.

import { ArgumentError, keep, scope } from '@darkroom/core';
import type { DataArray } from '@darkroom/core';
import type { AutoencoderKL } from '../models/autoencoder-kl.ts';
import type { CLIPTextModel } from '../models/clip-text.ts';
import type { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { StableDiffusionPipeline } from '../pipelines/stable-diffusion.ts';
import type { StableDiffusionOptions } from '../pipelines/stable-diffusion.ts';
import type { Generator } from '../random/generator.ts';
import { schedulerFromConfig } from '../schedulers/from-config.ts';
import { clipTokenizerFromFiles } from '../tokenizers/clip.ts';
import type { CaseContext, CaseResult } from './context.ts';

/** The keys of a call that this pipeline knows, by the reference's names. */
const optionNames: Readonly<Record<string, keyof StableDiffusionOptions>> = {
  negative_prompt: 'negativePrompt',
  num_images_per_prompt: 'numImagesPerPrompt',
  num_inference_steps: 'numInferenceSteps',
  guidance_scale: 'guidanceScale',
  guidance_rescale: 'guidanceRescale',
  eta: 'eta',
  clip_skip: 'clipSkip',
  width: 'width',
  height: 'height',
  timesteps: 'timesteps',
  sigmas: 'sigmas',
};

interface PipelineParams {
  readonly pipeline: string;
  readonly call: Readonly<Record<string, unknown>>;
  readonly scheduler_class: string;
  readonly scheduler_config: Record<string, unknown>;
  readonly scheduler_overrides: Record<string, unknown>;
  readonly seed: number | null;
}

/** Gives recorded noise back in the order the reference drew it. */
class ReplayGenerator implements Generator {
  readonly seed = 0n;
  readonly #draws: DataArray[];
  #next = 0;

  constructor(draws: DataArray[]) {
    this.#draws = draws;
  }

  randn(count: number): Float32Array {
    const draw = this.#draws[this.#next++];
    if (!draw || draw.length !== count) {
      throw new ArgumentError(
        `draw ${this.#next - 1} asks for ${count} values, the reference drew ${draw?.length ?? 'none'}`,
      );
    }
    return Float32Array.from(draw);
  }

  clone(): Generator {
    return new ReplayGenerator(this.#draws.slice(this.#next));
  }
}

/** 'noise_0', 'noise_1', … of the case. */
async function recordedNoise(context: CaseContext): Promise<DataArray[]> {
  const draws: DataArray[] = [];
  for (let i = 0; context.test.inputs?.[`noise_${i}`]; i++)
    draws.push(await context.inputValues(`noise_${i}`));
  return draws;
}

export async function runPipeline(context: CaseContext): Promise<CaseResult> {
  const { test } = context;
  const p = test.params as unknown as PipelineParams;
  if (p.pipeline !== 'StableDiffusionPipeline') return 'unsupported';
  const model = async (folder: string, className: string): Promise<unknown> =>
    context.model(folder, className, test.weights);
  const pipe = new StableDiffusionPipeline({
    vae: (await model('vae', 'AutoencoderKL')) as AutoencoderKL,
    textEncoder: (await model('text_encoder', 'CLIPTextModel')) as CLIPTextModel,
    tokenizer: await clipTokenizerFromFiles(context.files, `models/${test.model}/tokenizer`),
    unet: (await model('unet', 'UNet2DConditionModel')) as UNet2DConditionModel,
    scheduler: schedulerFromConfig(
      { ...p.scheduler_config, ...p.scheduler_overrides, _class_name: p.scheduler_class },
      test.id,
    ),
  });
  pipe.setProgressBarConfig({ disable: true });
  const { prompt, ...rest } = p.call;
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(rest)) {
    const name = optionNames[key];
    if (!name) return { failure: `call argument '${key}' is not one this version knows` };
    options[name] = value;
  }
  if (p.seed !== null) options['seed'] = p.seed;
  else options['generator'] = new ReplayGenerator(await recordedNoise(context));
  if (test.inputs?.['latents']) options['latents'] = await context.input('latents');
  const stepLatents: number[] = [];
  const timesteps: number[] = [];
  const { tensor: pixels } = await pipe(prompt as string, {
    ...options,
    outputType: 'tensor',
    callbackOnStepEnd: async (_, __, timestep, tensors) => {
      timesteps.push(timestep);
      stepLatents.push(...(await tensors.latents.data()));
    },
  });
  const images = scope(() => keep(pixels!.permute(0, 2, 3, 1)));
  const results = new Map<string, ArrayLike<number>>([
    ['timesteps', timesteps],
    ['step_latents', stepLatents],
    ['final_latents', stepLatents.slice(-(stepLatents.length / timesteps.length))],
    ['images', await images.data()],
  ]);
  images.dispose();
  pixels!.dispose();
  return results;
}
