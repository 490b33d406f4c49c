// trace(): records, optimises and plans a module; the result is called as the module was. save() writes it as a file,
// loadTraced() reads it in another process, on another backend, onto weights of the same names.

import { tensorFromBytes } from '../create.ts';
import type { ToOptions } from '../create.ts';
import type { Device } from '../device.ts';
import { encode } from '../dtype.ts';
import type { DType } from '../dtype.ts';
import { ArgumentError, DarkroomError, ShapeError } from '../errors.ts';
import { hostCopyOf } from '../nn/host-weights.ts';
import { Module } from '../nn/module.ts';
import type { AnyModule, Which } from '../nn/module.ts';
import { checkOptions } from '../options.ts';
import { isRecording } from '../recorder.ts';
import { keep } from '../scope.ts';
import { Tensor } from '../tensor.ts';
import type { Rates } from '../tune/rates.ts';
import type { Named, Plan } from './plan-data.ts';
import { printSummary } from './print-plan.ts';
import type { PlanSummary } from './print-plan.ts';
import { recordGraph } from './record.ts';
import { describeCall, putBack, splitCall, splitResult } from './signature.ts';
import type { Template } from './signature.ts';
import { parseTraces, serializeTraces } from './trace-file.ts';
import type { SavedConstant } from './trace-file.ts';
import { checkWeights } from './trace-weights.ts';
import { TracedCall, traceOptionNames, typeOf } from './traced-call.ts';
import type { TraceOptions } from './traced-call.ts';

/** An object that can be traced: a Module, or an object that calls one. */
export interface Traceable<Args extends readonly unknown[], Out> {
  call(...args: Args): Out;
  /** All weights that its calls read, by name, adapters included; default: stateDict(). */
  parameters?(): Named;
  /** The weights by name. trace() refuses an object without this or `parameters`: its weights would be constants. */
  stateDict?(): Named;
  readonly name?: string;
  readonly device?: Device | undefined;
  readonly dtype?: DType;
  readonly config?: Readonly<Record<string, unknown>>;
  /** For an object that calls modules: these modules, whose hooks load and unload the weights. */
  readonly modules?: readonly object[];
  dispose?(): void;
}

/** The weights of a traced module and the modules that own them. */
interface Weights {
  current(): Named;
  dispose(): void;
  /** The modules that own the weights; none for objects that manage their weights themselves. */
  readonly modules: readonly AnyModule[];
}

/** Weights given by name, as parameters of a module, so that offload can move them. */
class NamedWeights extends Module {
  constructor(params: Named) {
    super();
    // A weight in host memory gets a placeholder of its own here, since offload may dispose the given tensor.
    for (const [name, p] of params) Object.assign(this, { [name]: hostCopyOf(p)?.placeholder() ?? p });
  }
  override forward(): never {
    throw new DarkroomError('internal: weights are not called');
  }
}

/** Number of listener hooks so far, for unique names. */
let listeners = 0;

/** A module in place of the one that was traced: hooks and offload work on it as on that module. */
export class TracedModule<Args extends readonly unknown[], Out> extends Module<Args, Out> {
  readonly config: Readonly<Record<string, unknown>>;
  readonly #device: Device | undefined;
  readonly #dtype: DType;
  readonly #weights: Weights;
  readonly #source: Traceable<Args, Out> | undefined;
  readonly #options: TraceOptions;
  readonly #calls: TracedCall[] = [];
  /**
   * Name of the hook on the modules with the weights that releases plans when weights leave; set while plans hold
   * memory.
   */
  #listener: string | undefined;

  /** Use trace() or loadTraced(). */
  constructor(
    about: {
      name: string;
      config: Readonly<Record<string, unknown>>;
      device: Device | undefined;
      dtype: DType;
    },
    weights: Weights,
    source: Traceable<Args, Out> | undefined,
    options: TraceOptions,
  ) {
    super();
    this.name = about.name;
    this.config = about.config;
    this.#device = about.device;
    this.#dtype = about.dtype;
    this.#weights = weights;
    this.#source = source;
    this.#options = options;
  }

  /**
   * The result for arguments of a traced shape and dtype, in new memory. @throws ShapeError listing the traced calls.
   */
  override forward(...args: NoInfer<Args>): NoInfer<Out> {
    const split = splitCall(args);
    const traced = this.#calls.find((c) => c.fits(split));
    if (!traced) {
      const given = describeCall(split.template, (name) => typeOf(split.tensors.get(name)!));
      throw new ShapeError(
        `call: was traced for ${this.#calls.map((c) => c.describe()).join(' and ')}, got (${given})`,
      );
    }
    if (!isRecording()) {
      this.bringWeights();
      this.#listen();
    }
    return traced.run(split, this.device, () => this.#weights.current()) as Out;
  }

  #listen(): void {
    const { modules } = this.#weights;
    if (this.#listener !== undefined || modules.length === 0) return;
    const name = (this.#listener = `trace ${++listeners}`);
    for (const module of modules)
      module.addHook({ name, traceable: true, weightsLeft: () => this.release() });
  }

  /** Frees the memory of plans until the next call; plans and kernels stay. */
  release(): void {
    for (const call of this.#calls) call.release();
    if (this.#listener !== undefined)
      for (const module of this.#weights.modules) module.removeHook(this.#listener);
    this.#listener = undefined;
  }

  override bringWeights(together: readonly object[] = [this]): void {
    super.bringWeights(together);
    const { modules } = this.#weights;
    for (const module of modules) module.bringWeights([...together, ...modules]);
  }

  /** This module, and the traced modules with their paths, which own the parameters. */
  override *namedModules(prefix = '', which: Which = 'all'): Generator<[string, AnyModule]> {
    yield* super.namedModules(prefix, which);
    for (const module of this.#weights.modules) yield* module.namedModules(prefix, which);
  }

  override get device(): Device | undefined {
    return this.#device;
  }
  override get dtype(): DType {
    return this.#dtype;
  }

  /**
   * Traces another call of the same module: other shapes, other options.
   * @throws ArgumentError when it came from a file.
   */
  async add(sample: Args): Promise<void> {
    if (!this.#source)
      throw new ArgumentError(`${this.name}: was loaded from a file; trace the module to add other shapes`);
    const call = record(this.#source, sample, this.#options);
    this.#calls.push(call);
    await this.#ready(call);
  }

  /** For loadTraced(): adds a call from a file. */
  async adopt(call: TracedCall): Promise<void> {
    this.#calls.push(call);
    await this.#ready(call);
  }

  /** Plans and compiles ahead of the first call if the device is known; the first call allocates the memory. */
  async #ready(call: TracedCall): Promise<void> {
    if (!this.device) return;
    call.prepare(this.device, this.#weights.current());
    await this.device.backend.ready?.();
  }

  /** All weights that the traces read, by name. */
  override parameters(): Map<string, Tensor> {
    return new Map(this.#weights.current());
  }
  /** The weights, by name. */
  override stateDict(): Map<string, Tensor> {
    return new Map(this.#source?.stateDict?.() ?? this.#weights.current());
  }

  /** The plan of each traced call that was prepared, in the order of tracing. */
  get plans(): readonly Plan[] {
    return this.#calls.map((c) => c.plan).filter((p) => p !== undefined);
  }

  /** A summary of each plan, in the order of `plans`; with rates (measureRates) also the least time of a call. */
  summaries(rates?: Rates): readonly PlanSummary[] {
    return this.#calls.map((c) => c.summary(rates)).filter((s) => s !== undefined);
  }

  /** The summaries as text, a line per call. */
  summary(rates?: Rates): string {
    return this.#calls
      .map((call) => {
        const saved = call.summary(rates);
        return `${call.describe()}: ${saved ? printSummary(saved) : 'recorded, not planned: there is no device'}`;
      })
      .join('\n');
  }

  /** The file's text: graphs and constants, without weights. */
  async serialize(): Promise<string> {
    const traces = await Promise.all(
      this.#calls.map(async ({ args, result, recorded: graph, constants }) => ({
        args,
        result,
        graph,
        constants: await savedConstants(constants),
      })),
    );
    const { name, config, dtype } = this;
    return serializeTraces({ name, config, dtype, traces });
  }

  /** Writes the file, whole or not at all; needs Node. */
  async save(path: string): Promise<void> {
    const { writeFileWhole } = await import('../node/write-files.ts');
    await writeFileWhole(path, await this.serialize());
  }

  /** @throws always, since a plan is made for one device, dtype and format. */
  override async to(options: ToOptions): Promise<never> {
    const asked = Object.keys(options).join(', ') || 'nothing';
    throw new ArgumentError(
      `${this.name || 'traced module'}: a traced module cannot be moved or converted (to() asked for ${asked}); ` +
        'call to() on the module first, then trace it again',
    );
  }

  /** Frees plans and weights: a traced module takes over the module, or the params, that it was made from. */
  override dispose(): void {
    this.release();
    for (const call of this.#calls) call.dispose();
    this.#calls.length = 0;
    this.#weights.dispose();
  }
}

/**
 * Records `module` called with arguments like `sample` (tensors of these shapes and dtypes; their values are not read),
 * optimises the graph and plans it for the module's device. Tensors, and numbers that are arguments of their own, are
 * inputs; everything else in the arguments is part of the trace. The result takes over the module: disposing it frees
 * the weights.
 */
export async function trace<Args extends readonly unknown[], Out>(
  module: Traceable<Args, Out>,
  sample: NoInfer<Args>,
  options: TraceOptions = {},
): Promise<TracedModule<Args, Out>> {
  checkOptions('trace', options, traceOptionNames);
  const { name = '', config = {}, device, dtype = 'float32' } = module;
  if (!module.stateDict)
    throw new ArgumentError(`trace: ${name || 'the module'} has no stateDict() that names its weights`);
  const weights = {
    current: () => parametersOf(module),
    dispose: () => module.dispose?.(),
    modules: [module, ...(module.modules ?? [])].filter((m) => m instanceof Module) as AnyModule[],
  };
  const traced = new TracedModule<Args, Out>({ name, config, device, dtype }, weights, module, options);
  await traced.add(sample);
  return traced;
}

/** The tensors that a trace refers to by name. */
function parametersOf(module: Pick<Traceable<never, unknown>, 'parameters' | 'stateDict'>): Named {
  return module.parameters?.() ?? module.stateDict!();
}

function record<Args extends readonly unknown[], Out>(
  module: Traceable<Args, Out>,
  sample: Args,
  options: TraceOptions,
): TracedCall {
  const { template: args, tensors } = splitCall(sample);
  const inputs = Object.fromEntries(
    [...tensors].map(([name, t]) => [
      name,
      typeof t === 'number' ? Tensor.abstract('float32', [1], module.device) : t,
    ]),
  );
  let result: Template = null;
  const { graph, constants } = recordGraph(
    (named) => {
      const out = module.call(...(putBack(args, new Map(Object.entries(named))) as Args));
      const split = splitResult(out);
      result = split.template;
      return Object.fromEntries(split.tensors);
    },
    inputs,
    parametersOf(module),
  );
  return new TracedCall({ args, result, graph, constants }, options);
}

async function savedConstants(constants: Named): Promise<Map<string, SavedConstant>> {
  const saved = new Map<string, SavedConstant>();
  for (const [name, t] of constants)
    saved.set(name, { dtype: t.dtype, shape: t.shape, bytes: encode(await t.data(), t.dtype) });
  return saved;
}

/** Options of loadTraced(). */
export interface LoadTracedOptions extends TraceOptions {
  readonly device: Device;
  /** Weights by name, on `device` or in host memory for it; the traced module takes them over. */
  readonly params: Named;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a file does not say what type its module's call had
type AnyArgs = any[];
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
type AnyOut = any;

/** Reads a file that save() wrote; needs Node. @throws FormatError for a damaged file or params that do not fit. */
export async function loadTraced<Args extends readonly unknown[] = AnyArgs, Out = AnyOut>(
  path: string,
  options: LoadTracedOptions,
): Promise<TracedModule<Args, Out>> {
  const { readText } = await import('../node/text-files.ts');
  return parseTraced<Args, Out>(await readText(path), path, options);
}

/** As loadTraced, from the file's text; `source` names it in messages. */
export async function parseTraced<Args extends readonly unknown[] = AnyArgs, Out = AnyOut>(
  text: string,
  source: string,
  options: LoadTracedOptions,
): Promise<TracedModule<Args, Out>> {
  checkOptions('loadTraced', options, { ...traceOptionNames, device: true, params: true });
  const { device, params } = options;
  const saved = parseTraces(text, source);
  for (const [name, p] of params) {
    if (p.deviceOrNone !== device)
      throw new ArgumentError(
        `${source}: param '${name}' is on ${p.deviceOrNone?.name ?? 'no device'}, not on ${device.name}`,
      );
  }
  checkWeights(saved, params, source);
  const named: AnyModule = new NamedWeights(params);
  const weights = { current: () => named.stateDict(), dispose: () => named.dispose(), modules: [named] };
  const traced = new TracedModule<Args, Out>({ ...saved, device }, weights, undefined, options);
  try {
    for (const { constants, ...call } of saved.traces)
      await traced.adopt(new TracedCall({ ...call, constants: onDevice(constants, device) }, options));
  } catch (error) {
    if (error instanceof DarkroomError) error.message = `${source}: ${error.message}`;
    throw error;
  }
  return traced;
}

function onDevice(constants: ReadonlyMap<string, SavedConstant>, device: Device): Map<string, Tensor> {
  return new Map(
    [...constants].map(([name, { bytes, shape, dtype }]) => [
      name,
      keep(tensorFromBytes(bytes, shape, dtype, device)),
    ]),
  );
}
