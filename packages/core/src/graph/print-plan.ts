// Plans as text: a line per launch, and a summary of the launches and memory that a plan saves.

import type { Graph } from './graph.ts';
import { inputsOf, outputsOf } from './plan-data.ts';
import type { Plan, PlanArg } from './plan-data.ts';
import { formatShape } from '../errors.ts';
import { dtypes } from '../dtype.ts';
import { anyDefinitionOf } from '../ops/table.ts';
import { isView } from '../ops/views.ts';
import type { Rates } from '../tune/rates.ts';

/**
 * A plan as text, a line per launch. `arena@0` is offset 0 of the arena, `b3` buffer 3; weights and slots have names.
 */
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

/** Numbers of a plan and of the graph that it was made from. */
export interface PlanSummary {
  /** Ops of the recorded graph that run as kernels, before passes, and launches of the plan. */
  readonly opsBefore: number;
  readonly launches: number;
  /** Launches that run at every call; the others run when an input that they read changes. */
  readonly launchesAtEveryCall: number;
  /** Bytes of intermediate values without shared memory, and of the plan's memory. */
  readonly unsharedBytes: number;
  readonly arenaBytes: number;
  readonly buffers: number;
  /** Bytes of the packed copies of weights, beside the weights themselves. */
  readonly packedBytes: number;
  /** Least milliseconds of a call by the device's rates; undefined without rates. */
  readonly rooflineMs: number | undefined;
}

/**
 * The numbers of a plan. `recorded`: its graph before passes; `rates`: of measureRates; `packedBytes`: of its Replay.
 */
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

/** Milliseconds of the launches of every call, each at the rate of arithmetic or memory, whichever takes longer. */
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
