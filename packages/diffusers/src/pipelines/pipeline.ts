// What every pipeline is: named components that can be replaced, shared, moved, saved and freed. Its call is elsewhere.

import { ArgumentError, checkOptions, Module, TracedModule } from '@darkroom/core';
import type { Device, DType } from '@darkroom/core';
import type { ModelFiles } from '../loading/files.ts';
import type { TextEncoderLike, UNetLike, VaeLike } from '../models/types.ts';
import { memoryReport } from '../offload/memory-report.ts';
import type { MemoryReport } from '../offload/memory-report.ts';
import { PipelineOffload } from '../offload/pipeline-offload.ts';
import { modulesOf } from '../offload/policy.ts';
import type { SequentialOffloadOptions } from '../offload/sequential.ts';
import type { TilingOptions } from '../models/vae-tiling.ts';
import { fusedAttention, plainAttention } from '../models/attention-strategies.ts';
import type { AttentionSlice } from '../models/model-with-attention.ts';
import type { ProgressConfig } from '../progress/progress.ts';
import { schedulerFromConfig } from '../schedulers/from-config.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import { Callable } from './callable.ts';
import { Calls } from './calls.ts';
import { loadComponents } from './from-pretrained.ts';
import type { LoadOptions } from './from-pretrained.ts';
import { asUNet } from './own-unet.ts';
import type { OwnUNet } from './own-unet.ts';
import { computeAttention, sliceAttention, tellWhenSlicingIsVain, vaePolicy } from './memory-policies.ts';

export interface PipelineComponents {
  readonly vae: VaeLike;
  readonly textEncoder: TextEncoderLike;
  readonly tokenizer: ClipTokenizer;
  readonly unet: UNetLike;
  readonly scheduler: Scheduler;
}

/** Component → its folder and name in model_index.json. */
export const componentFolders: Readonly<Record<keyof PipelineComponents, string>> = {
  vae: 'vae',
  textEncoder: 'text_encoder',
  tokenizer: 'tokenizer',
  unet: 'unet',
  scheduler: 'scheduler',
};

export interface PipelineOptions {
  /** dtype of activations; default float32. */
  readonly computeDtype?: DType | undefined;
  /** model_index.json, for the settings that stand there and for saving. */
  readonly index?: Readonly<Record<string, unknown>> | undefined;
}

export interface PipelineClass<P, C> {
  new (components: C, options?: PipelineOptions): P;
  readonly className: string;
  readonly folders: Readonly<Record<keyof C & string, string>>;
}

/** A module with weights, as components see it. */
export type ComponentModule = VaeLike | TextEncoderLike | UNetLike;

export abstract class Pipeline<C extends PipelineComponents = PipelineComponents> extends Callable {
  vae: VaeLike;
  textEncoder: TextEncoderLike;
  tokenizer: ClipTokenizer;
  #unet: UNetLike;
  scheduler: Scheduler;
  /** dtype of activations: latents and embeddings are cast to it. Weights may be stored narrower. */
  computeDtype: DType;
  /** model_index.json as it was read; kept so that saving writes back what was there. */
  index: Readonly<Record<string, unknown>>;
  protected progress: ProgressConfig = {};

  constructor(components: C, options: PipelineOptions = {}) {
    super();
    this.vae = components.vae;
    this.textEncoder = components.textEncoder;
    this.tokenizer = components.tokenizer;
    this.#unet = asUNet(components.unet);
    this.scheduler = components.scheduler;
    this.computeDtype = options.computeDtype ?? 'float32';
    this.index = options.index ?? {};
  }

  /**
   * Loads a pipeline from a folder, a hub id or other files (httpFiles in a page). Components given in `components`
   * are taken as they are (a scheduler, a vae, …); the safety checker is never loaded unless given.
   * @throws FormatError naming file and key when a file is missing, damaged, of an unknown class or does not fit.
   */
  static async fromPretrained<P, K>(
    this: PipelineClass<P, K>,
    model: string | ModelFiles,
    options: LoadOptions & { readonly components?: Partial<K> },
  ): Promise<P> {
    const folders = Object.entries<string>(this.folders);
    const given = (options.components ?? {}) as Readonly<Record<string, unknown>>;
    const byFolder = Object.fromEntries(
      folders.flatMap(([name, folder]) => (given[name] === undefined ? [] : [[folder, given[name]]])),
    );
    const { components, index } = await loadComponents(model, options, byFolder, {
      className: this.className,
      names: folders.map(([, folder]) => folder),
    });
    const named = Object.fromEntries(folders.map(([name, folder]) => [name, components[folder]]));
    return new this(named as K, { computeDtype: options.dtype, index });
  }

  /** A pipeline of this class on the components of another: nothing is copied, disposing one frees both. */
  static fromPipe<P, K extends PipelineComponents>(this: PipelineClass<P, K>, pipe: Pipeline): P {
    const { components } = pipe;
    const [own, other] = [Object.keys(this.folders), Object.keys(components)];
    const missing = own.find((name) => !other.includes(name));
    const extra = other.find((name) => !own.includes(name));
    if (missing !== undefined || extra !== undefined) {
      throw new ArgumentError(
        missing === undefined
          ? `fromPipe: a ${this.className} has no place for '${extra}' of a ${pipe.className}`
          : `fromPipe: a ${this.className} needs '${missing}', a component that a ${pipe.className} has not`,
      );
    }
    return new this(components as unknown as K, { computeDtype: pipe.computeDtype, index: pipe.index });
  }

  get #class(): PipelineClass<unknown, Record<string, unknown>> {
    return this.constructor as unknown as PipelineClass<unknown, Record<string, unknown>>;
  }
  /** As in model_index.json. */
  get className(): string {
    return this.#class.className;
  }
  /** Component → its folder and name in model_index.json. */
  get folders(): Readonly<Record<string, string>> {
    return this.#class.folders;
  }

  /** All components by name, to build another pipeline from: `new StableDiffusionImg2ImgPipeline(pipe.components)`. */
  get components(): C {
    const fields = this as unknown as Record<string, unknown>;
    return Object.fromEntries(Object.keys(this.folders).map((name) => [name, fields[name]])) as unknown as C;
  }

  /** The components that hold weights, by name. */
  get modules(): Readonly<Record<string, ComponentModule>> {
    return Object.fromEntries(
      Object.entries(this.components).filter(([, component]) => 'to' in (component as object)),
    ) as Record<string, ComponentModule>;
  }

  /** Replaces the scheduler by another class with the same configuration. */
  useScheduler(className: string): void {
    const { config } = this.scheduler;
    this.scheduler = schedulerFromConfig({ ...config, _class_name: className });
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
  /** Channels of the VAE's latents. */
  get latentChannels(): number {
    return (this.vae.config['latent_channels'] as number | undefined) ?? 4;
  }
  get device(): Device {
    return this.unet.device!;
  }

  get unet(): UNetLike {
    return this.#unet;
  }
  /** A traced UNet, or an object of one's own with config, device, dtype and forward. @throws ArgumentError for others. */
  set unet(unet: UNetLike | OwnUNet) {
    this.#unet = asUNet(unet);
  }

  setProgressBarConfig(config: ProgressConfig): void {
    checkOptions('setProgressBarConfig', config, { disable: true, description: true, create: true });
    this.progress = config;
  }

  /** Decodes (and encodes) a batch one picture at a time: the same pictures, memory independent of their number. */
  enableVaeSlicing(): void {
    vaePolicy(this, 'enableSlicing')();
  }
  disableVaeSlicing(): void {
    vaePolicy(this, 'disableSlicing')();
  }

  /** Decodes (and encodes) pictures larger than a tile in overlapping tiles, blended. */
  enableVaeTiling(options: TilingOptions = {}): void {
    vaePolicy(this, 'enableTiling')(options);
  }
  disableVaeTiling(): void {
    vaePolicy(this, 'disableTiling')();
  }

  /**
   * Computes the UNet's attention in slices: 'auto' in two steps a layer, 'max' one head at a time, n so many heads.
   * It bounds the score matrix, which only the plain formulation holds: see disableMemoryEfficientAttention.
   */
  enableAttentionSlicing(slice: AttentionSlice = 'auto'): void {
    sliceAttention(this, slice);
    tellWhenSlicingIsVain(this);
  }
  disableAttentionSlicing(): void {
    sliceAttention(this, undefined);
  }

  /** The default: attention as one op, which holds no score matrix where the backend has a kernel for it. */
  enableMemoryEfficientAttention(): void {
    computeAttention(this, fusedAttention);
  }
  /** The plain formulation instead, with the score matrix in memory. */
  disableMemoryEfficientAttention(): void {
    computeAttention(this, plainAttention);
  }
  /** enableMemoryEfficientAttention by diffusers' name. */
  enableXformersMemoryEfficientAttention(): void {
    this.enableMemoryEfficientAttention();
  }
  disableXformersMemoryEfficientAttention(): void {
    this.disableMemoryEfficientAttention();
  }

  /** Moves or converts every component in place. A dtype also becomes the dtype of activations. */
  async to(
    target: Device | DType | { device?: Device; dtype?: DType; memoryFormat?: 'contiguous' | 'channelsLast' },
  ): Promise<this> {
    this.calls.requireNone('to');
    const { remedy } = this.offload;
    if (remedy) throw new ArgumentError(`to: the pipeline's weights are under offload; ${remedy}, then to()`);
    const options =
      typeof target === 'string' ? { dtype: target } : 'backend' in target ? { device: target } : target;
    checkOptions('to', options, { device: true, dtype: true, memoryFormat: true });
    // Traced UNets and a user's own may refuse: they go first, so that then nothing has moved.
    const modules = Object.values(this.modules);
    const moves = (m: ComponentModule): boolean => m instanceof Module && !(m instanceof TracedModule);
    for (const willing of [false, true])
      for (const module of modules.filter((m) => moves(m) === willing)) await module.to(options);
    if (options.dtype) this.computeDtype = options.dtype;
    return this;
  }

  /** Moves every component's weights to host memory, where offload takes them from. */
  async toHost(): Promise<this> {
    this.calls.requireNone('toHost');
    for (const module of modulesOf(this.components).values()) await module.toHost();
    return this;
  }

  /** How the weights of this pipeline come to its device. */
  protected readonly offload: PipelineOffload = new PipelineOffload(() => this.components);
  /** The calls under way. */
  protected readonly calls: Calls = new Calls();

  /**
   * Whether the call whose callback runs shall end after its current step; outside of callbacks: all calls under way.
   * What a call is told ends with it, and calls that start later know nothing of it.
   */
  get interrupt(): boolean {
    return this.calls.interrupt;
  }
  set interrupt(value: boolean) {
    this.calls.interrupt = value;
  }

  /**
   * Keeps one component on the device at a time: text encoders, then the UNet while the loop runs, then the VAE. Weights
   * must be in host memory: load with `{ weights: 'host' }`, or call toHost() first. Pipelines that share modules share
   * their offload: whatever one of them enabled holds for the calls of all.
   * @throws ArgumentError when they are on the device, or when offload is enabled already.
   */
  enableModelCpuOffload(): void {
    this.calls.requireNone('enableModelCpuOffload');
    this.offload.enableModel();
  }
  /** Weights then lie in host memory; to({ device }) brings them to the device. */
  disableModelCpuOffload(): void {
    this.calls.requireNone('disableModelCpuOffload');
    this.offload.disable('disableModelCpuOffload()');
  }
  /**
   * Keeps weights on the device only while their leaf module, or group of leaf modules, computes; the next group comes
   * meanwhile. Weights must be in host memory, as for enableModelCpuOffload.
   * @throws ArgumentError when they are on the device, when offload is enabled already, or for bad options.
   */
  enableSequentialCpuOffload(options: SequentialOffloadOptions = {}): void {
    this.calls.requireNone('enableSequentialCpuOffload');
    this.offload.enableSequential(options);
  }
  /** Weights then lie in host memory; to({ device }) brings them to the device. */
  disableSequentialCpuOffload(): void {
    this.calls.requireNone('disableSequentialCpuOffload');
    this.offload.disable('disableSequentialCpuOffload()');
  }

  /** Where the weights of each component are, and what the device holds: bytes. */
  memoryReport(): MemoryReport {
    return memoryReport(this.components, this.device);
  }

  /** Frees the weights of every component. */
  dispose(): void {
    this.offload.disable();
    for (const module of Object.values(this.modules)) module.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
