// One traced call of a module: its graph for given shapes, and on a device its plan, replayed at every call. Weights
// may be replaced between calls (loaded, converted, offloaded), so each run compares them first. The plan is made once;
// its memory is held from the first run to release().

import type { Device } from '../device.ts';
import { DeviceError, formatShape } from '../errors.ts';
import { isOnHost } from '../nn/host-weights.ts';
import { isRecording } from '../recorder.ts';
import { debug } from '../debug.ts';
import { full } from '../ops/fill.ts';
import type { OptionNames } from '../options.ts';
import type { Tensor } from '../tensor.ts';
import type { Rates } from '../tune/rates.ts';
import type { Graph, NamedValue } from './graph.ts';
import { inferLayouts } from './layouts.ts';
import { optimize, passesFor } from './passes/index.ts';
import type { Pass } from './passes/index.ts';
import { planGraph } from './plan.ts';
import type { Named, Plan } from './plan-data.ts';
import { summarizePlan } from './print-plan.ts';
import type { PlanSummary } from './print-plan.ts';
import { Replay } from './replay.ts';
import { runGraph } from './run.ts';
import { describeCall, putBack } from './signature.ts';
import type { SplitCall, Template } from './signature.ts';

/** Options of trace() and loadTraced(). */
export interface TraceOptions {
  /**
   * Graph passes. Default: passesFor() the device; passes that copy weights only with `hoist`. [] replays exactly the
   * kernels that the module runs.
   */
  readonly passes?: readonly Pass[];
  /**
   * True (default): results that do not depend on the first argument are kept from call to call, which takes memory.
   */
  readonly hoist?: boolean;
}

/** The names of TraceOptions. */
export const traceOptionNames: OptionNames<TraceOptions> = { passes: true, hoist: true };

/** Number of in-place writes into the weights; undefined when one is disposed. */
function versionOf(weights: readonly Tensor[]): number | undefined {
  let version = 0;
  for (const w of weights) {
    if (w.isDisposed) return undefined;
    version += w.storage('trace').version;
  }
  return version;
}

/** One traced call of a module: graph, plan and replay. */
export class TracedCall {
  readonly args: Template;
  readonly result: Template;
  /** The recorded graph, before passes. */
  readonly recorded: Graph;
  readonly constants: Named;
  readonly #shape: string;
  readonly #inputs: ReadonlyMap<string, NamedValue>;
  readonly #passes: readonly Pass[] | undefined;
  readonly #hoist: boolean;
  /** The graph after passes, for weights of `#layouts`. */
  #graph: Graph | undefined;
  #replay: Replay | undefined;
  /** The weights and constants that the replay is bound to; undefined while it holds no memory. */
  #bound: readonly Tensor[] | undefined;
  #version = 0;
  #layouts = '';

  constructor(
    call: {
      readonly args: Template;
      readonly result: Template;
      readonly graph: Graph;
      readonly constants: Named;
    },
    { passes, hoist = true }: TraceOptions,
  ) {
    this.args = call.args;
    this.result = call.result;
    this.recorded = call.graph;
    this.constants = call.constants;
    this.#passes = passes;
    this.#hoist = hoist;
    this.#shape = JSON.stringify(call.args);
    this.#inputs = new Map(call.graph.inputs.map((v) => [v.name, v]));
  }

  /**
   * True if the call has the options, dtypes and shapes of the traced one; a number matches a tensor of one element.
   */
  fits(given: SplitCall): boolean {
    for (const [name, value] of given.tensors) {
      const input = this.#inputs.get(name);
      if (!input) return false;
      if (typeof value === 'number') {
        if (input.shape.some((d) => d !== 1)) return false;
      } else if (value.dtype !== input.dtype || formatShape(value.shape) !== formatShape(input.shape))
        return false;
    }
    return JSON.stringify(given.template) === this.#shape;
  }

  describe(): string {
    return `(${describeCall(this.args, (name) => typeOf(this.#inputs.get(name)!))})`;
  }

  /** Makes the plan for the layouts of `params`, which may still be in host memory, and prepares the kernels; once. */
  prepare(device: Device, params: Named): Replay {
    const before = this.#graph;
    const graph = this.#optimized(params, device);
    if (this.#replay && graph === before) return this.#replay;
    this.release();
    this.#replay = undefined; // also when planning fails
    const plan = planGraph(graph, { device, params, constants: this.constants }, { hoist: this.#hoist });
    return (this.#replay = new Replay(plan, device));
  }

  /** The replay on the weights as they are now. */
  #ready(device: Device, weights: () => Named): Replay {
    if (this.#replay && this.#bound && versionOf(this.#bound) === this.#version) return this.#replay;
    this.#bound = undefined; // whatever fails below, what ran before is not run again
    const params = weights();
    const replay = this.prepare(device, params);
    const all = new Map([...params, ...this.constants]);
    const { params: weightsOf, constants } = this.#graph!;
    const used = [...weightsOf, ...constants].map((v) => all.get(v.name)).filter((w) => w !== undefined);
    if (used.some(isOnHost))
      throw new DeviceError(
        'trace: weights are in host memory, and a replay needs all of them on the device; there to() brings them, or ' +
          'offload of whole models, but not offload by layers',
      );
    try {
      replay.bind(all);
    } catch (error) {
      replay.release();
      throw error;
    }
    this.#bound = used;
    this.#version = versionOf(used)!;
    return replay;
  }

  /** The graph after passes for the present layouts of weights, which may have been converted since the recording. */
  #optimized(params: Named, device: Device | undefined): Graph {
    const used = this.recorded.params.map((p) => params.get(p.name)).filter((w) => w !== undefined);
    const layouts = used.map((w) => `${w.dtype}${w.shape};${w.strides};${w.layout.offset}`).join('|');
    if (!this.#graph || layouts !== this.#layouts) {
      const list = this.#passes ?? passesFor(device?.caps, this.#hoist);
      this.#graph = optimize(inferLayouts(this.recorded, params), list);
      this.#layouts = layouts;
    }
    return this.#graph;
  }

  /** The result for given tensors; a new trace records the ops, debug.checkFinite runs them one by one. */
  run(given: SplitCall, device: Device | undefined, weights: () => Named): unknown {
    if (isRecording() || debug.checkFinite || !device) return this.#interpret(given, device, weights());
    const replay = this.#ready(device, weights);
    for (const [name, value] of given.tensors) replay.set(name, value);
    replay.run();
    return putBack(this.result, new Map(replay.plan.outputs.map((port) => [port.name, replay.output(port)])));
  }

  #interpret(given: SplitCall, device: Device | undefined, params: Named): unknown {
    const inputs: Record<string, Tensor> = {};
    for (const [name, value] of given.tensors) {
      const { shape, dtype } = this.#inputs.get(name)!;
      inputs[name] = typeof value === 'number' ? full(shape, value, { device, dtype }) : value;
    }
    const bindings = { params, constants: this.constants, device: device! };
    return putBack(
      this.result,
      new Map(Object.entries(runGraph(this.#optimized(params, device), inputs, bindings))),
    );
  }

  /** The plan of the last run. */
  get plan(): Plan | undefined {
    return this.#replay?.plan;
  }
  summary(rates?: Rates): PlanSummary | undefined {
    return this.#replay && summarizePlan(this.#replay.plan, this.recorded, rates, this.#replay.packedBytes);
  }

  /** Frees the plan's memory until the next run; plan and kernels stay. */
  release(): void {
    this.#replay?.release();
    this.#bound = undefined;
  }

  /** Frees the plan and the constants; not the weights. */
  dispose(): void {
    this.release();
    this.#replay = undefined;
    for (const constant of this.constants.values()) constant.dispose();
  }
}

/** `float32[2,4]`, or the number itself. */
export const typeOf = (v: { readonly dtype: string; readonly shape: readonly number[] } | number): string =>
  typeof v === 'number' ? String(v) : `${v.dtype}${formatShape(v.shape)}`;
