// cuDNN's execution plans. Those whose kernel cuDNN compiled, which takes up to a second, are kept as files and restored
// from there in a millisecond or two.

import type { FaultLog } from '../fault-log.ts';
import type { CubinStore } from '../node/cubin-files.ts';
import type { CudnnDescriptor } from '../node/cudnn.ts';
import type { NativeError } from '../node/native.ts';
import { engineConfig } from './cudnn-engines.ts';
import type { CudnnDescriptors, CudnnTarget, EngineConfig } from './cudnn-engines.ts';
import type { CudnnGraph } from './cudnn-graph.ts';

/** Bytes of a plan's JSON: with less it holds no compiled kernel, and is built as soon as read. */
const leastKept = 16 << 10;

/** Where plans are kept, and for which device; plans also depend on cuDNN's version, which is added here. */
export interface PlanFiles {
  readonly store: CubinStore;
  readonly device: string;
}

/** cuDNN's plans made so far, and the milliseconds that took. */
export interface PlanCounts {
  built: number;
  restored: number;
  ms: number;
}

/** True for an error of cuDNN itself. */
const isOfCudnn = (error: unknown): error is NativeError =>
  error instanceof Error && (error as NativeError).library === 'libcudnn';

export class CudnnPlans {
  readonly #target: CudnnTarget;
  readonly #files: PlanFiles | undefined;
  readonly #faults: FaultLog | undefined;
  readonly #counts: PlanCounts | undefined;

  constructor(target: CudnnTarget, files?: PlanFiles, faults?: FaultLog, counts?: PlanCounts) {
    this.#target = target;
    this.#files = files;
    this.#faults = faults;
    this.#counts = counts;
  }

  /**
   * The plan of an engine for the graph, finalized: from its file, else built, and then kept. `made` frees it.
   * @throws a refusal where the engine does not take the graph.
   */
  plan(made: CudnnDescriptors, graph: CudnnGraph, config: EngineConfig): CudnnDescriptor {
    const started = performance.now();
    const key = this.#files && this.#key(this.#files.device, graph, config);
    const restored = key === undefined ? undefined : this.#restored(made, key);
    const plan = restored ?? this.#built(made, graph, config, key);
    if (this.#counts) {
      this.#counts[restored ? 'restored' : 'built']++;
      this.#counts.ms += performance.now() - started;
    }
    return plan;
  }

  #key(device: string, graph: CudnnGraph, config: EngineConfig): string {
    const { nodes, operations } = graph;
    return `cuDNN ${this.#target.cudnn.version()} plan, ${device}\n${JSON.stringify([nodes, operations, config])}`;
  }

  #restored(made: CudnnDescriptors, key: string): CudnnDescriptor | undefined {
    const json = this.#files!.store.load(key);
    if (!json) return undefined;
    try {
      return this.#empty(made).setBytes('executionPlanJsonRepresentation', json).finalize();
    } catch (error) {
      this.#note('a kept plan is not restored but built anew', error);
      return undefined;
    }
  }

  #built(
    made: CudnnDescriptors,
    graph: CudnnGraph,
    config: EngineConfig,
    key: string | undefined,
  ): CudnnDescriptor {
    const engine = engineConfig(made, graph, config);
    const plan = this.#empty(made).set('executionPlanEngineConfig', 'backendDescriptor', engine).finalize();
    if (key === undefined) return plan;
    try {
      const json = plan.bytes('executionPlanJsonRepresentation');
      if (json.length >= leastKept) this.#files!.store.save(key, json);
    } catch (error) {
      this.#note('a plan is not kept', error);
    }
    return plan;
  }

  /** A plan for the device, still without content. */
  #empty(made: CudnnDescriptors): CudnnDescriptor {
    const plan = made.make('executionPlan');
    if ('handle' in this.#target) return plan.set('executionPlanHandle', 'handle', this.#target.handle);
    return plan.set('executionPlanDeviceprop', 'backendDescriptor', made.device()!);
  }

  /** @throws an error that is not cuDNN's. */
  #note(what: string, error: unknown): void {
    if (!isOfCudnn(error)) throw error;
    this.#faults?.note({ kind: 'library-refused', op: 'cuDNN', message: `cuda: cuDNN: ${what}: ${error.message}` }); // prettier-ignore
  }
}
