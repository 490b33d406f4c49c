// cuDNN's engines as choices: for convolutions and attention, through its graph API.

import type { ArgSpec, Choice, Json, KernelOp } from '@darkroom/core/backend';
import type { FaultLog } from '../fault-log.ts';
import type { CudnnDescriptor } from '../node/cudnn.ts';
import type { Address, Cudnn, Driver, Stream } from '../node/native.ts';
import type { OwnKernels } from '../own-kernels.ts';
import { areAligned } from '../provider.ts';
import type { Library, Prepared } from '../provider.ts';
import { attentionGraph } from './cudnn-attention.ts';
import { conv2dGraph } from './cudnn-conv2d.ts';
import { CudnnDescriptors, engineConfigs, isRefusal } from './cudnn-engines.ts';
import type { CudnnTarget, EngineConfig } from './cudnn-engines.ts';
import type { CudnnGraph } from './cudnn-graph.ts';
import { CudnnPlans } from './cudnn-plans.ts';
import type { PlanCounts, PlanFiles } from './cudnn-plans.ts';
import { LazyHandle } from './lazy-handle.ts';
import { inTwoLaunches, withoutPerImage } from './per-image.ts';

/** Bytes of workspace above which an engine is refused; good engines need a few MiB. */
const workspaceLimit = 256 * 2 ** 20;

/** The graph of an op, undefined where it has none. */
export function cudnnGraph(op: KernelOp, args: readonly ArgSpec[]): CudnnGraph | undefined {
  if (op.kind === 'conv2d') return conv2dGraph(op, args);
  return op.kind === 'attention' ? attentionGraph(op, args) : undefined;
}

/** What a CudnnLibrary may be given beside cuDNN itself. */
export interface CudnnOptions {
  /** JSON of a GPU that this machine lacks; the library then gives choices but prepares no kernels. */
  readonly properties?: string;
  readonly faults?: FaultLog;
  /** Keeps plans of compiled kernels. */
  readonly files?: PlanFiles | undefined;
  readonly counts?: PlanCounts;
  /** Adds the terms that cuDNN cannot. */
  readonly own?: OwnKernels;
}

export class CudnnLibrary implements Library {
  readonly name = 'cudnn';
  readonly #cudnn: Cudnn;
  readonly #driver: Pick<Driver, 'hostAddress'>;
  readonly #options: CudnnOptions;
  readonly #plans: CudnnDescriptors[] = [];
  readonly #handle: LazyHandle<CudnnHandle>;

  constructor(cudnn: Cudnn, driver: Pick<Driver, 'hostAddress'>, options: CudnnOptions = {}) {
    this.#cudnn = cudnn;
    this.#driver = driver;
    this.#options = options;
    this.#handle = new LazyHandle('cuDNN', () => new CudnnHandle(cudnn), options.faults);
  }

  choices(op: KernelOp, args: readonly ArgSpec[]): readonly Choice[] {
    const rest = this.#options.own && withoutPerImage(op, args);
    if (rest) return this.choices(rest.op, rest.args);
    const graph = cudnnGraph(op, args);
    const target = graph && this.#target();
    if (!target) return [];
    return engineConfigs(target, graph).map(({ engine, knobs }, i) => ({
      id: i === 0 ? this.name : `${this.name}-${i}`,
      params: { engine, knobs },
    }));
  }

  /** The first choice stands for the first engine that can be built; the others for themselves alone. */
  prepare(op: KernelOp, args: readonly ArgSpec[], choice: Choice): Prepared | undefined {
    const { own } = this.#options;
    const rest = own && withoutPerImage(op, args);
    if (rest) return inTwoLaunches(this, own, rest, args, choice);
    const graph = cudnnGraph(op, args);
    const config = configOf(choice.params);
    const handle = this.#handle.get();
    if (!graph || !config || !handle) return undefined;
    const prepared = this.#build(handle, graph, config, args.length);
    if (prepared || choice.id !== this.name) return prepared;
    const tried = JSON.stringify(config);
    const target = { cudnn: this.#cudnn, handle: handle.address };
    for (const other of engineConfigs(target, graph)) {
      const next =
        JSON.stringify(other) === tried ? undefined : this.#build(handle, graph, other, args.length);
      if (next) return next;
    }
    return undefined;
  }

  #build(handle: CudnnHandle, graph: CudnnGraph, config: EngineConfig, args: number): Prepared | undefined {
    const target = { cudnn: this.#cudnn, handle: handle.address };
    const made = new CudnnDescriptors(target);
    try {
      const { files, faults, counts } = this.#options;
      const plan = new CudnnPlans(target, files, faults, counts).plan(made, graph, config);
      const workspace = plan.get('executionPlanWorkspaceSize', 'int64')[0]!;
      if (workspace <= workspaceLimit) {
        this.#plans.push(made);
        return new CudnnKernel(handle, this.#driver, plan, graph, workspace, args);
      }
    } catch (error) {
      if (!isRefusal(error)) {
        made[Symbol.dispose]();
        throw error;
      }
    }
    made[Symbol.dispose]();
    return undefined;
  }

  /** undefined where the library does not start. */
  #target(): CudnnTarget | undefined {
    const { properties } = this.#options;
    if (properties !== undefined) return { cudnn: this.#cudnn, properties };
    const handle = this.#handle.get();
    return handle && { cudnn: this.#cudnn, handle: handle.address };
  }

  [Symbol.dispose](): void {
    for (const plan of this.#plans.splice(0)) plan[Symbol.dispose]();
    this.#handle.dispose(({ address }) => this.#cudnn.destroy(address));
  }
}

/** A handle and the stream that it was last told of. */
class CudnnHandle {
  readonly cudnn: Cudnn;
  readonly address: Address;
  #stream: Stream = 0;

  constructor(cudnn: Cudnn) {
    this.cudnn = cudnn;
    this.address = cudnn.create();
  }
  execute(
    plan: Address,
    ids: BigInt64Array,
    pointers: BigUint64Array,
    workspace: Address,
    stream: Stream,
  ): void {
    if (stream !== this.#stream) this.cudnn.setStream(this.address, stream);
    this.#stream = stream;
    this.cudnn.execute(this.address, plan, ids, pointers, workspace);
  }
}

class CudnnKernel implements Prepared {
  readonly scratch: readonly number[];
  readonly #handle: CudnnHandle;
  readonly #plan: Address;
  readonly #workspace: number;
  /** Unique ids of arguments, then of values; the addresses of values do not change. */
  readonly #ids: BigInt64Array;
  readonly #pointers: BigUint64Array;
  readonly #words: Uint32Array;
  readonly #arguments: readonly number[];
  /** Kept because the pointers of values lead here. */
  readonly #values: Float32Array;

  constructor(
    handle: CudnnHandle,
    driver: Pick<Driver, 'hostAddress'>,
    plan: CudnnDescriptor,
    graph: CudnnGraph,
    workspace: number,
    args: number,
  ) {
    this.#handle = handle;
    this.#plan = plan.address;
    this.#workspace = args;
    this.scratch = workspace > 0 ? [workspace] : [];
    const bound = graph.bindings.flatMap((b) => ('arg' in b ? [b] : []));
    const values = graph.bindings.flatMap((b) => ('value' in b ? [b] : []));
    this.#arguments = bound.map((b) => b.arg);
    this.#ids = BigInt64Array.from([...bound, ...values], (b) => BigInt(b.id));
    this.#pointers = new BigUint64Array(this.#ids.length);
    this.#words = new Uint32Array(this.#pointers.buffer);
    // An explicit buffer: V8 may move the elements of small arrays.
    this.#values = new Float32Array(new ArrayBuffer(4 * values.length));
    this.#values.set(values.map((v) => v.value));
    const at = values.length > 0 ? driver.hostAddress(this.#values) : 0;
    values.forEach((_, i) => (this.#pointers[bound.length + i] = BigInt(at + 4 * i)));
  }

  fits(addresses: readonly number[]): boolean {
    return areAligned(addresses);
  }

  run(addresses: readonly number[], _: readonly number[], stream: Stream): number {
    for (let i = 0; i < this.#arguments.length; i++) {
      const address = addresses[this.#arguments[i]!]!;
      this.#words[2 * i] = address >>> 0;
      this.#words[2 * i + 1] = Math.floor(address / 2 ** 32);
    }
    const workspace = addresses[this.#workspace] ?? 0;
    this.#handle.execute(this.#plan, this.#ids, this.#pointers, workspace, stream);
    return 1;
  }
}

/** The engine in a choice's params, also of a stored choice; undefined for anything else. */
function configOf(params: Json | undefined): EngineConfig | undefined {
  if (typeof params !== 'object' || params === null || !('engine' in params)) return undefined;
  const { engine, knobs } = params;
  if (typeof engine !== 'number' || !Array.isArray(knobs)) return undefined;
  const pairs = (knobs as readonly Json[]).map((k) => (Array.isArray(k) ? (k as readonly Json[]) : []));
  if (!pairs.every((k) => k.length === 2 && k.every((n) => typeof n === 'number'))) return undefined;
  return { engine, knobs: pairs as unknown as EngineConfig['knobs'] };
}
