// Cases of kind 'pipeline': a whole call, with the latents after every step and the final images.

import { ArgumentError, keep, scope } from '@darkroom/core';
import type { DataArray } from '@darkroom/core';
import { clipTokenizerFromFiles, pipelineNamed, schedulerFromConfig } from '@darkroom/diffusers';
import type {
  AnyPipeline,
  CallOptions,
  ComponentSlots,
  Generator,
  StableDiffusionOutput,
} from '@darkroom/diffusers';
import { readJson } from '@darkroom/diffusers/testing';
import { requireSame } from './call.ts';
import type { CaseContext, CaseResult } from './context.ts';

/** The supported call arguments by the reference's names; this library's names are the same in camelCase. */
const knownArguments: ReadonlySet<string> = new Set([
  'prompt', 'prompt_2', 'negative_prompt', 'negative_prompt_2', 'num_images_per_prompt', 'num_inference_steps',
  'timesteps', 'sigmas', 'guidance_scale', 'guidance_rescale', 'eta', 'clip_skip', 'width', 'height', 'strength',
  'original_size', 'crops_coords_top_left', 'target_size', 'negative_original_size',
  'negative_crops_coords_top_left', 'negative_target_size', 'denoising_end',
]); // prettier-ignore

/** Input tensors of a case that are call arguments; the others are recorded noise. */
const tensorArguments: ReadonlySet<string> = new Set([
  'latents', 'image', 'mask_image', 'masked_image_latents', 'prompt_embeds', 'negative_prompt_embeds',
  'pooled_prompt_embeds', 'negative_pooled_prompt_embeds',
]); // prettier-ignore

const camelCase = (name: string): string => name.replace(/_(\w)/g, (_, c: string) => c.toUpperCase());

interface PipelineParams {
  readonly pipeline: string;
  readonly call: Readonly<Record<string, unknown>>;
  readonly scheduler_class: string;
  readonly scheduler_config: Record<string, unknown>;
  readonly scheduler_overrides: Record<string, unknown>;
  readonly seed: number | null;
}

/** Any pipeline as a case sees it: options by name. */
type Call = (prompt: string | undefined, options: CallOptions) => Promise<StableDiffusionOutput>;

/** A generator that returns the reference's recorded noise in order. */
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

  /** Number of recorded draws not yet returned. */
  get left(): number {
    return this.#draws.length - this.#next;
  }
}

/** 'noise_0', 'noise_1', … of the case. */
async function recordedNoise(context: CaseContext): Promise<DataArray[]> {
  const draws: DataArray[] = [];
  for (let i = 0; context.test.inputs?.[`noise_${i}`]; i++)
    draws.push(await context.inputValues(`noise_${i}`));
  return draws;
}

/** The case's model as a pipeline of the case's class; models are shared with other cases. */
async function pipelineOf(context: CaseContext, p: PipelineParams): Promise<AnyPipeline> {
  const { test, files } = context;
  const Class = pipelineNamed(p.pipeline)!;
  const base = `models/${test.model}`;
  const index = await readJson(files, `${base}/model_index.json`);
  const component = async (folder: string): Promise<unknown> => {
    const className = (index[folder] as readonly string[] | undefined)?.[1] ?? '';
    if (folder === 'scheduler') {
      const config = { ...p.scheduler_config, ...p.scheduler_overrides, _class_name: p.scheduler_class };
      return schedulerFromConfig(config, test.id);
    }
    if (className.startsWith('CLIPTokenizer')) return clipTokenizerFromFiles(files, `${base}/${folder}`);
    return context.model(folder, className, test.weights);
  };
  const components: Record<string, unknown> = {};
  const slots: ComponentSlots = Class.slots;
  for (const [name, { folder }] of Object.entries(slots)) components[name] = await component(folder);
  const pipe = new Class(components as never, { index });
  pipe.setProgressBarConfig({ disable: true });
  return pipe;
}

export async function runPipeline(context: CaseContext): Promise<CaseResult> {
  const { test } = context;
  const p = test.params as unknown as PipelineParams;
  if (!pipelineNamed(p.pipeline)) return 'unsupported';
  const { prompt: _, ...rest } = p.call;
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(rest)) {
    if (!knownArguments.has(key)) return { failure: `call argument '${key}' is not one this version knows` };
    if (value !== null) options[camelCase(key)] = value;
  }
  const pipe = await pipelineOf(context, p);
  for (const name of Object.keys(test.inputs ?? {})) {
    if (/^noise_\d+$/.test(name)) continue;
    if (!tensorArguments.has(name)) return { failure: `input '${name}' is not one this version knows` };
    options[camelCase(name)] = await context.input(name);
  }
  const draw = (): Promise<CaseResult> => drawOnce(context, pipe, p, options);
  return context.traced ? await drawTraced(pipe, draw) : await draw();
}

/**
 * Draws with traced steps: without passes they must give eager's bits; the optimised ones are compared with the
 * reference.
 */
async function drawTraced(pipe: AnyPipeline, draw: () => Promise<CaseResult>): Promise<CaseResult> {
  const eager = await draw();
  try {
    pipe.enableTracing({ passes: [] });
    const same = await draw();
    if (eager instanceof Map && same instanceof Map)
      for (const [name, values] of eager as ReadonlyMap<string, ArrayLike<number>>)
        requireSame(name, (same as ReadonlyMap<string, ArrayLike<number>>).get(name), values);
    pipe.enableTracing();
    return await draw();
  } finally {
    pipe.disableTracing();
  }
}

async function drawOnce(
  context: CaseContext,
  pipe: AnyPipeline,
  p: PipelineParams,
  given: Readonly<Record<string, unknown>>,
): Promise<CaseResult> {
  const replay = p.seed === null ? new ReplayGenerator(await recordedNoise(context)) : undefined;
  const options = { ...given, ...(replay ? { generator: replay } : { seed: p.seed! }) };
  const stepLatents: number[] = [];
  const timesteps: number[] = [];
  const { tensor: pixels } = await (pipe as unknown as Call)(p.call['prompt'] as string, {
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
  if (replay && replay.left > 0)
    return { failure: `${replay.left} draws of the reference were not asked for` };
  return results;
}
