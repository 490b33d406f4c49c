// Plans as text: a line a launch, and what a plan saves in launches and memory.

import type { Graph } from './graph.ts';
import { inputsOf, outputsOf } from './plan-data.ts';
import type { Plan, PlanArg } from './plan-data.ts';
import { formatShape } from '../errors.ts';
import { dtypes } from '../dtype.ts';
import { anyDefinitionOf } from '../ops/table.ts';
import { isView } from '../ops/views.ts';
import type { Rates } from '../tune/rates.ts';

/** `arena@0` is offset 0 of the plan's buffer 0, or `b3` its buffer 3; weights and slots go by their names. */
export function printPlan(plan: Plan): string {
  const place = ({ base: id, dtype, layout }: PlanArg): string => {
    const base = plan.bases[id]!;
    const type = `${dtypes[dtype].short}${formatShape(layout.shape)}`;
    if (base.kind === 'arena')
      return `${type}@${plan.buffers.length > 1 ? `b${base.buffer}` : base.offset}${layout.offset > 0 ? `+${layout.offset}` : ''}`;
    return `${type} ${base.kind === 'output' ? 'output' : `${base.kind[0]}:${base.name}`}`;
  };
  return plan.launches
    .map((launch) => {
      const outputs = outputsOf(launch).map(place).join(', ');
      return `${outputs} = ${launch.op.kind}/${launch.choice.id}(${inputsOf(launch).map(place).join(', ')})`;
    })
    .join('\n');
}

/** Numbers of a plan, beside those of the graph it came from. */
export interface PlanSummary {
  /** Ops of the recorded graph that run as kernels, before passes; launches of the plan. */
  readonly opsBefore: number;
  readonly launches: number;
  /** Launches of every call; the others run when an input that they read changes. */
  readonly launchesAtEveryCall: number;
  /** Intermediate values: without sharing, and in the plan's memory. */
  readonly unsharedBytes: number;
  readonly arenaBytes: number;
  readonly buffers: number;
  /** Weights in the form that the device's kernels read fastest, beside the weights themselves. */
  readonly packedBytes: number;
  /** Least time of a call by the device's rates; undefined where those are not known. */
  readonly rooflineMs: number | undefined;
}

/** `rates`: of measureRates; `packedBytes`: of the plan's Replay. */
export function summarizePlan(plan: Plan, recorded: Graph, rates?: Rates, packedBytes = 0): PlanSummary {
  return {
    opsBefore: recorded.nodes.filter(({ op }) => !isView(op) && op.kind !== 'result').length,
    launches: plan.launches.length,
    launchesAtEveryCall: plan.launches.length - plan.segments.at(-1)!.from,
    unsharedBytes: plan.unsharedBytes,
    arenaBytes: plan.buffers.reduce((n, b) => n + b, 0),
    buffers: plan.buffers.length,
    packedBytes,
    rooflineMs: rates && roofline(plan, rates),
  };
}

/** Of the launches of every call: each at the rate of its arithmetic or of memory, whichever takes longer. */
function roofline(plan: Plan, { flops: rates, bandwidth }: Rates): number {
  let ms = 0;
  for (const launch of plan.launches.slice(plan.segments.at(-1)!.from)) {
    const { op, args } = launch;
    const { flops, bytes } = anyDefinitionOf(op).cost(op, inputsOf(launch));
    const rate = rates[args[0]!.dtype] ?? rates.float32 ?? Infinity;
    ms += 1000 * Math.max(bytes / bandwidth, flops / rate);
  }
  return ms;
}

/** `482 ops → 391 kernels, 350 at every call; values 12.1 MiB → 2.3 MiB in 1 buffer; weights packed 24.0 MiB`. */
export function printSummary(s: PlanSummary): string {
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const packed = s.packedBytes > 0 ? `; weights packed ${mib(s.packedBytes)}` : '';
  const time =
    s.rooflineMs === undefined ? '' : `; at least ${s.rooflineMs.toFixed(2)} ms at the device's own rates`;
  return (
    `${s.opsBefore} ops → ${s.launches} kernels, ${s.launchesAtEveryCall} at every call; values ${mib(s.unsharedBytes)} → ${mib(s.arenaBytes)} ` +
    `in ${s.buffers} buffer${s.buffers === 1 ? '' : 's'}${packed}${time}`
  );
}
