// Text to image with Stable Diffusion 1.x and 2.x. The loop is visible here; models, schedulers and loading are not.
// Reference: diffusers' StableDiffusionPipeline. A safety checker is not part of it unless the user adds one.

import { cast, compileAhead, concat, keep, map, scope, Scope, Tensor, tensor, toAsync } from '@darkroom/core';
import type { Device, DType } from '@darkroom/core';
import { Image } from '../image/image.ts';
import type { ModelFiles } from '../loading/files.ts';
import type { TextEncoderLike, UNetLike, VaeLike } from '../models/types.ts';
import { progressBar } from '../progress/progress.ts';
import type { ProgressConfig } from '../progress/progress.ts';
import type { Generator } from '../random/generator.ts';
import { schedulerFromConfig } from '../schedulers/from-config.ts';
import type { Schedule, Scheduler } from '../schedulers/scheduler.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import { Callable } from './callable.ts';
import { guide, rescaleGuidance } from './guidance.ts';
import { drawNoise, generatorsFor } from './noise.ts';
import { checkCall } from './check-call.ts';
import type { CheckedCall } from './check-call.ts';
import { loadComponents } from './from-pretrained.ts';
import type { LoadOptions } from './from-pretrained.ts';
import { embedPrompts, encodePrompts } from './encode-prompts.ts';
import type { PromptEmbeddings } from './encode-prompts.ts';

export interface StableDiffusionComponents {
  readonly vae: VaeLike;
  readonly textEncoder: TextEncoderLike;
  readonly tokenizer: ClipTokenizer;
  readonly unet: UNetLike;
  readonly scheduler: Scheduler;
}

/** Component → its folder and name in model_index.json. */
export const componentFolders: Readonly<Record<keyof StableDiffusionComponents, string>> = {
  vae: 'vae',
  textEncoder: 'text_encoder',
  tokenizer: 'tokenizer',
  unet: 'unet',
  scheduler: 'scheduler',
};

/** What a callback may read and replace. */
export interface StepTensors {
  latents: Tensor;
  promptEmbeds?: Tensor;
}
export type StepCallback = (
  pipe: StableDiffusionPipeline,
  step: number,
  timestep: number,
  tensors: StepTensors,
) => Partial<StepTensors> | void | Promise<Partial<StepTensors> | void>;

export interface StableDiffusionOptions {
  readonly negativePrompt?: string | readonly string[];
  readonly numImagesPerPrompt?: number;
  readonly numInferenceSteps?: number;
  /** Custom schedules, where the scheduler supports them. */
  readonly timesteps?: readonly number[];
  readonly sigmas?: readonly number[];
  /** 1 or less runs no unconditional half. */
  readonly guidanceScale?: number;
  readonly guidanceRescale?: number;
  readonly eta?: number;
  /** One seed, or one for each image; default: a random one, reported in the result. */
  readonly seed?: number | bigint | readonly (number | bigint)[];
  /** Instead of seeds: one generator for the whole batch, or one for each image. */
  readonly generator?: Generator | readonly Generator[];
  /** [images, channels, height/scale, width/scale], before scaling by the scheduler's initial sigma. */
  readonly latents?: Tensor;
  /** [prompts, tokens, features]; replaces prompt. */
  readonly promptEmbeds?: Tensor;
  readonly negativePromptEmbeds?: Tensor;
  /** k uses the hidden state before the last k layers. */
  readonly clipSkip?: number;
  readonly width?: number;
  readonly height?: number;
  /** 'image' (default): Image objects; 'tensor': [n, 3, h, w] in [0, 1]; 'latent': [n, c, h/8, w/8]. */
  readonly outputType?: 'image' | 'tensor' | 'latent';
  readonly callbackOnStepEnd?: StepCallback;
  readonly callbackOnStepEndTensors?: readonly (keyof StepTensors)[];
  readonly signal?: AbortSignal;
}

export interface StableDiffusionOutput {
  /** For outputType 'image'. */
  readonly images: readonly Image[];
  /** For outputType 'tensor' and 'latent'; the caller disposes it. */
  readonly tensor?: Tensor;
  /** The seeds used, one an image, unless generators or latents were given. */
  readonly seeds: readonly (number | bigint)[];
}

/** Resolves in a later turn of the event loop, as soon as the platform can. */
function macrotask(): Promise<void> {
  return new Promise((resolve) =>
    typeof setImmediate === 'function' ? setImmediate(resolve) : setTimeout(resolve, 0),
  );
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface StableDiffusionPipeline {
  (
    prompt: string | readonly string[] | undefined,
    options?: StableDiffusionOptions,
  ): Promise<StableDiffusionOutput>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionPipeline extends Callable {
  vae: VaeLike;
  textEncoder: TextEncoderLike;
  tokenizer: ClipTokenizer;
  unet: UNetLike;
  scheduler: Scheduler;
  /** dtype of activations: latents and embeddings are cast to it. Weights may be stored narrower. */
  computeDtype: DType;
  /** Set by a callback to end the loop after the current step; the picture so far is decoded. */
  interrupt = false;
  /** The order in which model offload runs components. */
  static readonly offloadOrder: readonly string[] = ['textEncoder', 'unet', 'vae'];
  #progress: ProgressConfig = {};
  /** Calls whose kernels were compiled ahead, by what they depend on; kept for one device. */
  #compiled: { readonly device: Device; readonly calls: Set<string> } | undefined;

  constructor(components: StableDiffusionComponents, options: { computeDtype?: DType } = {}) {
    super();
    this.vae = components.vae;
    this.textEncoder = components.textEncoder;
    this.tokenizer = components.tokenizer;
    this.unet = components.unet;
    this.scheduler = components.scheduler;
    this.computeDtype = options.computeDtype ?? 'float32';
  }

  /**
   * Loads a pipeline from a folder, a hub id or other files (httpFiles in a page). Components given in `components`
   * are taken as they are (a scheduler, a vae, …); the safety checker is never loaded unless given.
   * @throws FormatError naming file and key when a file is missing, damaged, of an unknown class or does not fit.
   */
  static async fromPretrained(
    model: string | ModelFiles,
    options: LoadOptions & { readonly components?: Partial<StableDiffusionComponents> },
  ): Promise<StableDiffusionPipeline> {
    const given = options.components ?? {};
    const byFile = Object.fromEntries(
      Object.entries(componentFolders).flatMap(([name, folder]) => {
        const value = given[name as keyof StableDiffusionComponents];
        return value === undefined ? [] : [[folder, value]];
      }),
    );
    const { components, index } = await loadComponents(
      model,
      options,
      byFile,
      Object.values(componentFolders),
    );
    const pipe = new StableDiffusionPipeline(
      {
        vae: components['vae'] as VaeLike,
        textEncoder: components['text_encoder'] as TextEncoderLike,
        tokenizer: components['tokenizer'] as ClipTokenizer,
        unet: components['unet'] as UNetLike,
        scheduler: components['scheduler'] as Scheduler,
      },
      options.dtype ? { computeDtype: options.dtype } : {},
    );
    pipe.index = index;
    return pipe;
  }

  /** model_index.json as it was read; kept so that saving writes back what was there. */
  index: Readonly<Record<string, unknown>> = {};

  /** Replaces the scheduler by another class with the same configuration. */
  useScheduler(className: string): void {
    const { config } = this.scheduler;
    this.scheduler = schedulerFromConfig({ ...config, _class_name: className }, `scheduler ${className}`);
  }

  /** Writes a folder that this library and Python's diffusers read. Existing files are replaced one by one, whole. */
  async savePretrained(folder: string): Promise<void> {
    const { savePipeline } = await import('./node/save-pipeline.ts');
    await savePipeline(this, folder);
  }

  /** Pixels per latent: 2^(levels - 1) of the VAE. */
  get vaeScale(): number {
    return 2 ** (this.vae.blockOutChannels.length - 1);
  }
  get device(): Device {
    return this.unet.device!;
  }
  /** The modules that hold weights, by component name. */
  get modules(): { readonly textEncoder: TextEncoderLike; readonly unet: UNetLike; readonly vae: VaeLike } {
    return { textEncoder: this.textEncoder, unet: this.unet, vae: this.vae };
  }

  setProgressBarConfig(config: ProgressConfig): void {
    this.#progress = config;
  }

  /** Moves or converts every component in place. A dtype also becomes the dtype of activations. */
  async to(
    target: Device | DType | { device?: Device; dtype?: DType; memoryFormat?: 'contiguous' | 'channelsLast' },
  ): Promise<this> {
    const options =
      typeof target === 'string' ? { dtype: target } : 'backend' in target ? { device: target } : target;
    for (const module of Object.values(this.modules)) await module.to(options);
    if (options.dtype) this.computeDtype = options.dtype;
    return this;
  }

  /** Frees the weights of every component. */
  dispose(): void {
    for (const module of Object.values(this.modules)) module.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  protected override invoke(
    prompt?: string | readonly string[],
    options: StableDiffusionOptions = {},
  ): Promise<StableDiffusionOutput> {
    return this.generate(prompt, options);
  }

  /** The call itself; `pipe(prompt, options)` is the same. */
  async generate(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionOptions = {},
  ): Promise<StableDiffusionOutput> {
    const call = checkCall(this, prompt, options);
    options.signal?.throwIfAborted();
    this.interrupt = false;
    const memory = new Scope();
    let schedule: Schedule | undefined;
    try {
      schedule = this.scheduler.schedule(call.schedule);
      const { generators, seeds } = generatorsFor(options, call.images);
      await this.#compile(call, options);
      const prompts = await encodePrompts(this, call, options);
      memory.adopt(prompts.embeds);
      const latents = await this.#initialLatents(call.latentShape, schedule, generators, options.latents);
      const final = await this.#denoise(call, options, schedule, prompts, latents, generators);
      memory.adopt(final);
      return await this.#finish(final, options, seeds);
    } finally {
      schedule?.dispose();
      memory.dispose();
    }
  }

  /** Where the device compiles: all kernels of a call at once, before its first such call, instead of one by one. */
  async #compile(call: CheckedCall, options: StableDiffusionOptions): Promise<void> {
    const { device, computeDtype: dtype } = this;
    if (!device.backend.ready) return;
    if (this.#compiled?.device !== device) this.#compiled = { device, calls: new Set() };
    const { className } = this.scheduler;
    const key = JSON.stringify([call.latentShape, call.guided, call.guidanceRescale > 0, className, dtype]);
    if (this.#compiled.calls.has(key)) return;
    const schedule = this.scheduler.schedule(call.schedule);
    try {
      await compileAhead(device, () => {
        const given = options.promptEmbeds;
        const text = given && Tensor.abstract(dtype, given.shape, device);
        // Any text has the shape of this one.
        const blank = {
          ...call,
          prompts: call.prompts?.map(() => ''),
          negativePrompts: call.negativePrompts.map(() => ''),
        };
        const embeds = embedPrompts(
          this,
          blank,
          text,
          options.negativePromptEmbeds && text,
          options.clipSkip,
        );
        let latents = Tensor.abstract(dtype, call.latentShape, device);
        const { generators } = generatorsFor({ seed: 0 }, call.images);
        // Later steps of a multistep solver read earlier outputs.
        for (let i = 0; i < Math.min(4, schedule.timesteps.length); i++) {
          latents = this.#step(call, options, schedule, embeds, latents, generators, i);
        }
        if (options.outputType !== 'latent') this.#pixels(latents);
      });
    } finally {
      schedule.dispose();
    }
    this.#compiled.calls.add(key);
  }

  async #initialLatents(
    shape: readonly number[],
    schedule: Schedule,
    generators: readonly Generator[],
    given: Tensor | undefined,
  ): Promise<Tensor> {
    const { device, computeDtype: dtype } = this;
    const start = given
      ? await toAsync(given, { device, dtype })
      : drawNoise(generators, shape, dtype, device);
    const scaled = map(['mul', ['in', 0], ['scalar', 0]], [start], { scalars: [schedule.initNoiseSigma] });
    start.dispose();
    return keep(scaled);
  }

  async #denoise(
    call: CheckedCall,
    options: StableDiffusionOptions,
    schedule: Schedule,
    prompts: PromptEmbeddings,
    start: Tensor,
    generators: readonly Generator[],
  ): Promise<Tensor> {
    const { timesteps } = schedule;
    const bar = await progressBar(timesteps.length, this.#progress);
    const tensors: StepTensors = { latents: start };
    let embeds = prompts.embeds;
    try {
      for (const [i, timestep] of timesteps.entries()) {
        options.signal?.throwIfAborted();
        const next = scope(() => this.#step(call, options, schedule, embeds, tensors.latents, generators, i));
        tensors.latents.dispose();
        tensors.latents = keep(next);
        if (options.callbackOnStepEnd) {
          const wanted = options.callbackOnStepEndTensors ?? ['latents'];
          const shown: StepTensors = {
            latents: tensors.latents,
            ...(wanted.includes('promptEmbeds') && { promptEmbeds: embeds }),
          };
          const changed = await options.callbackOnStepEnd(this, i, timestep, shown);
          if (changed?.latents && changed.latents !== tensors.latents) {
            tensors.latents.dispose();
            tensors.latents = keep(changed.latents);
          }
          if (changed?.promptEmbeds) embeds = changed.promptEmbeds;
        }
        bar.update(i + 1, `peak ${(this.device.memory().peak / 2 ** 20).toFixed(0)} MiB`);
        // Lets a signal, a timer or the terminal in between steps.
        await this.device.idle();
        await macrotask();
        if (this.interrupt) break;
      }
      return tensors.latents;
    } catch (error) {
      tensors.latents.dispose();
      throw error;
    } finally {
      bar.stop();
    }
  }

  /** One step: model on the (doubled) batch, guidance, scheduler. */
  #step(
    call: CheckedCall,
    options: StableDiffusionOptions,
    schedule: Schedule,
    embeds: Tensor,
    latents: Tensor,
    generators: readonly Generator[],
    i: number,
  ): Tensor {
    const doubled = call.guided ? concat([latents, latents], 0) : latents;
    const input = schedule.scaleModelInput(doubled, i);
    const timestepCond = this.#guidanceEmbedding(call);
    const { sample } = this.unet.call(
      input,
      schedule.timesteps[i]!,
      embeds,
      timestepCond ? { timestepCond } : {},
    );
    let noise = sample;
    if (call.guided) {
      const [uncond, text] = sample.chunk(2, 0) as [Tensor, Tensor];
      noise = guide(uncond, text, call.guidanceScale);
      if (call.guidanceRescale > 0) noise = rescaleGuidance(noise, text, call.guidanceRescale);
    }
    const draw = (): Tensor => drawNoise(generators, latents.shape, latents.dtype, this.device);
    const { prevSample } = schedule.step(noise, i, latents, {
      eta: options.eta ?? 0,
      noise: draw,
      predOriginalSample: false,
    });
    return cast(prevSample, this.computeDtype);
  }

  /** Guidance as an embedding, for distilled models with time_cond_proj_dim (LCM). */
  #guidanceEmbedding(call: CheckedCall): Tensor | undefined {
    const size = this.unet.config['time_cond_proj_dim'];
    if (typeof size !== 'number') return undefined;
    const w = (call.guidanceScale - 1) * 1000;
    const half = Math.floor(size / 2);
    const row = new Float32Array(size);
    for (let k = 0; k < half; k++) {
      const angle = w * Math.exp((-Math.log(10000) * k) / (half - 1));
      row[k] = Math.sin(angle);
      row[half + k] = Math.cos(angle);
    }
    const rows = Array.from({ length: call.images }, () => [...row]).flat();
    return tensor(rows, { shape: [call.images, size], device: this.device, dtype: this.computeDtype });
  }

  /** Latents → [n, 3, h, w] in [0, 1]; NaN stays NaN so that it is reported, not painted. */
  #pixels(latents: Tensor): Tensor {
    return scope(() => {
      const z = map(['div', ['in', 0], ['scalar', 0]], [latents], { scalars: [this.vae.scalingFactor] });
      const image = this.vae.decode(z);
      return map(['min', ['max', ['add', ['mul', ['in', 0], 0.5], 0.5], 0], 1], [image], {
        dtype: 'float32',
      });
    });
  }

  async #finish(
    latents: Tensor,
    options: StableDiffusionOptions,
    seeds: readonly (number | bigint)[],
  ): Promise<StableDiffusionOutput> {
    if (options.outputType === 'latent') return { images: [], tensor: keep(latents), seeds };
    const pixels = this.#pixels(latents);
    if (options.outputType === 'tensor') return { images: [], tensor: keep(pixels), seeds };
    try {
      const [n, c, h, w] = pixels.shape as [number, number, number, number];
      const data = (await pixels.data()) as Float32Array;
      const size = c * h * w;
      const images = Array.from({ length: n }, (_, i) =>
        Image.fromPlanes(data.subarray(i * size, (i + 1) * size), c, h, w),
      );
      return { images, seeds };
    } finally {
      pixels.dispose();
    }
  }
}
