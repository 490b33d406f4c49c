// The base of every pipeline: named components that can be replaced, shared, moved, saved and freed. The memory
// switches are in memory-switches.ts, the call in latent-diffusion.ts.

import { ArgumentError, checkOptions, describe, Module, TracedModule } from '@darkroom/core';
import type { Device, DType } from '@darkroom/core';
import { loadComponents } from '../components/load.ts';
import type { ComponentRole, ComponentSlots } from '../components/slots.ts';
import type { ModelSource } from '../loading/files.ts';
import { nameOfModel } from '../loading/model-name.ts';
import type { LoadOptions } from '../loading/load-options.ts';
import type { ModelLike } from '../models/types.ts';
import { memoryReport } from '../offload/memory-report.ts';
import type { MemoryReport } from '../offload/memory-report.ts';
import { PipelineOffload } from '../offload/pipeline-offload.ts';
import { modulesOf } from '../offload/policy.ts';
import type { ProgressConfig } from '../progress/progress.ts';
import { schedulerAliases } from '../schedulers/aliases.ts';
import { schedulerClasses, schedulerFromConfig } from '../schedulers/from-config.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import { Callable } from './callable.ts';
import { Calls } from './calls.ts';

/** Options of a pipeline's constructor. */
export interface PipelineOptions {
  /** dtype of activations; default float32. */
  readonly computeDtype?: DType | undefined;
  /** The content of model_index.json: settings of the pipeline, and the keys that savePretrained writes back. */
  readonly index?: Readonly<Record<string, unknown>> | undefined;
  /** Name of the model, written beside pictures. */
  readonly modelName?: string | undefined;
}

/** A pipeline class: its constructor, its name and the slots of its components. */
export interface PipelineClass<P, C> {
  new (components: C, options?: PipelineOptions): P;
  /** `_class_name` of model_index.json. */
  readonly className: string;
  readonly slots: ComponentSlots<C>;
}

/**
 * Base of all pipelines: its components are properties under the names of `slots`. Reference: diffusers'
 * DiffusionPipeline.
 */
export abstract class Pipeline<C extends object = object> extends Callable {
  declare scheduler: Scheduler;
  /** dtype of activations: latents and embeddings are cast to it. Weights may have a narrower dtype. */
  computeDtype: DType;
  /** model_index.json as it was read: saving writes its keys back. */
  index: Readonly<Record<string, unknown>>;
  /** Name of the model, written beside pictures: a hub id, or the last part of a folder's or an address's path. */
  modelName: string | undefined;
  protected progress: ProgressConfig = {};
  /** The offload of this pipeline's weights. */
  protected readonly offload: PipelineOffload = new PipelineOffload(() => this.components);
  /** The running calls. */
  protected readonly calls: Calls = new Calls();

  constructor(components: C, options: PipelineOptions = {}) {
    super();
    this.computeDtype = options.computeDtype ?? 'float32';
    this.index = options.index ?? {};
    this.modelName = options.modelName;
    const given = components as Record<string, unknown>;
    for (const name of Object.keys(this.slots)) (this as Record<string, unknown>)[name] = given[name];
  }

  /**
   * Loads a pipeline from a folder, a hub id or other files (httpFiles in a page). Objects in `components` (a
   * scheduler, a vae, …) are used instead of loading those components; a safety checker is never loaded.
   * @throws FormatError naming file and key if a file is missing, damaged, of an unknown class or does not fit
   */
  static async fromPretrained<P, K>(
    this: PipelineClass<P, K>,
    model: ModelSource,
    options: LoadOptions & { readonly components?: Partial<K> },
  ): Promise<P> {
    const given = (options?.components ?? {}) as Readonly<Record<string, object | undefined>>;
    const { components, index } = await loadComponents(model, options, given, this);
    return new this(components as K, { computeDtype: options.dtype, index, modelName: nameOfModel(model) });
  }

  /**
   * A pipeline of this class on the components of another: nothing is copied, disposing one frees both.
   * @throws ArgumentError if this class needs a component that `pipe` has not, or has no slot for one of `pipe`
   */
  static fromPipe<P, K>(this: PipelineClass<P, K>, pipe: Pipeline): P {
    const components = pipe.components as Readonly<Record<string, object>>;
    const slots = Object.entries<ComponentSlots[string]>(this.slots);
    const missing = slots.find(([name, { optional }]) => !optional && !components[name])?.[0];
    const extra = Object.keys(components).find((name) => !Object.hasOwn(this.slots, name));
    if (missing !== undefined || extra !== undefined) {
      throw new ArgumentError(
        missing === undefined
          ? `fromPipe: a ${this.className} has no place for '${extra}' of a ${pipe.className}`
          : `fromPipe: a ${this.className} needs '${missing}', a component that a ${pipe.className} has not`,
      );
    }
    const { computeDtype, index, modelName } = pipe;
    return new this(components as K, { computeDtype, index, modelName });
  }

  get #class(): PipelineClass<unknown, Record<string, unknown>> {
    return this.constructor as unknown as PipelineClass<unknown, Record<string, unknown>>;
  }
  /** `_class_name` of model_index.json. */
  get className(): string {
    return this.#class.className;
  }
  /** The slots of this pipeline's components: name, folder and role. */
  get slots(): ComponentSlots {
    return this.#class.slots;
  }

  /** All components by name, to build another pipeline from: `new StableDiffusionImg2ImgPipeline(pipe.components)`. */
  get components(): C {
    const fields = this as unknown as Record<string, unknown>;
    const names = Object.keys(this.slots).filter((name) => fields[name] !== undefined);
    return Object.fromEntries(names.map((name) => [name, fields[name]])) as unknown as C;
  }

  /** The components that hold weights, by name. */
  get modules(): Readonly<Record<string, ModelLike>> {
    return Object.fromEntries(
      Object.entries(this.components).filter(([, component]) => 'to' in (component as object)),
    ) as Record<string, ModelLike>;
  }

  /** The components of a role that hold weights, in the order of `slots`. */
  protected inRole(role: ComponentRole): readonly ModelLike[] {
    const { modules } = this;
    const names = Object.keys(modules).filter((name) => this.slots[name]!.role === role);
    return names.map((name) => modules[name]!);
  }

  /** The device of the denoiser. */
  get device(): Device {
    return this.inRole('denoiser')[0]!.device!;
  }

  /**
   * Replaces the scheduler by one of another class, or of a short name as 'euler_a' or 'dpm++2m_karras', with the same
   * configuration but for what the short name stands for. @throws ArgumentError for an unknown name
   */
  useScheduler(name: string): void {
    const alias = Object.hasOwn(schedulerAliases, name) ? schedulerAliases[name] : undefined;
    const className = alias?.className ?? name;
    if (!alias && !Object.hasOwn(schedulerClasses, className)) {
      const known = [...Object.keys(schedulerAliases), ...Object.keys(schedulerClasses)];
      throw new ArgumentError(`scheduler: must be one of ${known.join(', ')}, got ${describe(name)}`);
    }
    this.scheduler = schedulerFromConfig({
      ...this.scheduler.config,
      ...alias?.config,
      _class_name: className,
    });
  }

  /**
   * Writes a folder that this library and Python's diffusers read. Existing files are replaced one by one, each whole.
   * @throws ArgumentError for a component of no registered class
   */
  async savePretrained(folder: string): Promise<void> {
    const { savePipeline } = await import('../components/node/save.ts');
    await savePipeline(this, folder);
  }

  /** Sets the progress bar of later calls: `disable`, `description`, `create`. @throws ArgumentError for other names */
  setProgressBarConfig(config: ProgressConfig): void {
    checkOptions('setProgressBarConfig', config, { disable: true, description: true, create: true });
    this.progress = config;
  }

  /**
   * Moves or converts every component in place; a dtype also becomes `computeDtype`.
   * @throws ArgumentError while a call is running, under offload, and for a traced UNet or a user's own
   */
  async to(
    target: Device | DType | { device?: Device; dtype?: DType; memoryFormat?: 'contiguous' | 'channelsLast' },
  ): Promise<this> {
    this.calls.requireNone('to');
    const { remedy } = this.offload;
    if (remedy) throw new ArgumentError(`to: the pipeline's weights are under offload; ${remedy}, then to()`);
    const options =
      typeof target === 'string' ? { dtype: target } : 'backend' in target ? { device: target } : target;
    checkOptions('to', options, { device: true, dtype: true, memoryFormat: true });
    // Traced UNets and a user's own may refuse to move: they go first, so that a refusal leaves the others in place.
    const modules = Object.values(this.modules);
    const moves = (m: ModelLike): boolean => m instanceof Module && !(m instanceof TracedModule);
    for (const willing of [false, true])
      for (const module of modules.filter((m) => moves(m) === willing)) await module.to(options);
    if (options.dtype) this.computeDtype = options.dtype;
    return this;
  }

  /** Moves every component's weights to host memory, for offload. @throws ArgumentError while a call is running */
  async toHost(): Promise<this> {
    this.calls.requireNone('toHost');
    for (const module of modulesOf(this.components).values()) await module.toHost();
    return this;
  }

  /**
   * Set to true in a callback, ends that call after its current step; set outside of callbacks, ends all running calls.
   * Each call has a flag of its own, false at its start.
   */
  get interrupt(): boolean {
    return this.calls.interrupt;
  }
  set interrupt(value: boolean) {
    this.calls.interrupt = value;
  }

  /** Bytes of each component's weights on the device and in host memory, and the device's own statistics. */
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
