// Makes the plan of a graph (plan-data.ts). Lowering runs the graph under a recorder that makes dispatch's choices, so
// that a plan runs the kernels of eager calls.

import type { Choice } from '../backend.ts';
import type { Device } from '../device.ts';
import { assign, choiceFor, resolveAbstract } from '../dispatch.ts';
import { dtypes } from '../dtype.ts';
import { invariant } from '../errors.ts';
import { span } from '../layout.ts';
import type { Layout } from '../layout.ts';
import type { AnyOp } from '../op.ts';
import { copy } from '../ops/copy.ts';
import { anyDefinitionOf } from '../ops/table.ts';
import type { Recorder } from '../recorder.ts';
import { withRecorder } from '../recorder.ts';
import { Scope } from '../scope.ts';
import { Tensor } from '../tensor.ts';
import type { Graph, NamedValue } from './graph.ts';
import { joinInPlace } from './join-in-place.ts';
import type { Named, Plan, PlanArg, PlanBase, PlanPort, PlanSegment, PlanLaunch } from './plan-data.ts';
import { planMemory } from './plan-memory.ts';
import type { Lifetime } from './plan-memory.ts';
import { runGraph } from './run.ts';
import { segmentLaunches } from './segments.ts';

class Lowering implements Recorder {
  readonly launches: PlanLaunch[] = [];
  readonly bases: ({ kind: 'input' | 'param' | 'constant'; name: string; bytes: number } | { kind: 'value'; bytes: number })[] = []; // prettier-ignore
  readonly #device: Device;
  readonly #baseOf = new Map<Tensor, number>();

  constructor(device: Device) {
    this.#device = device;
  }

  bind(kind: 'input' | 'param' | 'constant', name: string, t: Tensor): void {
    const bytes = (t.layout.offset + span(t.layout)) * dtypes[t.dtype].bytes;
    this.#baseOf.set(t, this.bases.push({ kind, name, bytes }) - 1);
  }

  view(_: unknown, input: Tensor, output: Tensor): void {
    const base = this.#baseOf.get(input);
    invariant(base !== undefined, `lowering: ${input.toString()} comes from nowhere`);
    this.#baseOf.set(output, base);
  }

  op(op: AnyOp, inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    const known = this.#baseOf.has(outputs[0]!);
    const given = known ? outputs[0] : undefined;
    const found = resolveAbstract(anyDefinitionOf(op), op, inputs, this.#device, given);
    if (Array.isArray(found)) {
      for (const [i, t] of (found as readonly Tensor[]).entries())
        if (t !== outputs[i]) this.#become(outputs[i]!, t);
      return;
    }
    for (const output of outputs) {
      if (this.#baseOf.has(output)) continue;
      const bytes = span(output.layout) * dtypes[output.dtype].bytes;
      this.#baseOf.set(output, this.bases.push({ kind: 'value', bytes }) - 1);
    }
    const args = [...inputs, ...outputs].map((t) => this.argOf(t));
    const several = outputs.length > 1 && { outputs: outputs.length };
    this.launches.push({ op, choice: found as Choice, args, ...several });
  }

  /** Makes `output` the value `found` of a decomposition, copied where its layout differs from the op's. */
  #become(output: Tensor, found: Tensor): void {
    const [a, b] = [found.layout, output.layout];
    if (a.offset === 0 && a.strides.every((s, i) => s === b.strides[i])) this.view(undefined, found, output);
    else {
      const bytes = span(b) * dtypes[output.dtype].bytes;
      this.#baseOf.set(output, this.bases.push({ kind: 'value', bytes }) - 1);
      assign(found, output);
    }
  }

  argOf(t: Tensor): PlanArg {
    const base = this.#baseOf.get(t);
    invariant(base !== undefined, `lowering: ${t.toString()} comes from nowhere`);
    return { base, dtype: t.dtype, layout: t.layout };
  }
}

/**
 * Plans `graph` for a device, on weights of the layouts that `params` and `constants` have; nothing is computed.
 * `suballocate`: one arena instead of several buffers; default: caps.suballocate. `hoist`: launches that do not depend
 * on the first input run only when their inputs change.
 */
export function planGraph(
  graph: Graph,
  bindings: { readonly device: Device; readonly params: Named; readonly constants: Named },
  options: { readonly suballocate?: boolean; readonly hoist?: boolean } = {},
): Plan {
  const { device, params, constants } = bindings;
  const lowering = new Lowering(device);
  using memory = new Scope();
  return memory.run(() => {
    const layout = ({ shape, strides }: NamedValue): Layout => ({ shape, strides, offset: 0 });
    const inputs = Object.fromEntries(
      graph.inputs.map((v) => [v.name, new Tensor(v.dtype, layout(v), undefined, device)]),
    );
    for (const v of graph.inputs) lowering.bind('input', v.name, inputs[v.name]!);
    for (const v of graph.params) if (params.has(v.name)) lowering.bind('param', v.name, params.get(v.name)!);
    for (const v of graph.constants)
      if (constants.has(v.name)) lowering.bind('constant', v.name, constants.get(v.name)!);
    const ports = graph.inputs.map((v) => ({ name: v.name, ...lowering.argOf(inputs[v.name]!) }));
    const outputs = withRecorder(lowering, () =>
      Object.entries(runGraph(graph, inputs, { params, constants, device })).map(([name, t]) => {
        // Outputs start at the start of their memory, since backends copy from aligned places.
        const { base, dtype, layout: seen } = lowering.argOf(t.layout.offset === 0 ? t : copy(t));
        return { name, base, dtype, layout: seen };
      }),
    );
    const { suballocate = device.caps.suballocate, hoist = true } = options;
    const byBase = new Map(ports.map((port) => [port.base, port.name]));
    const joined = joinInPlace(
      lowering.launches,
      (base) => lowering.bases[base]!.kind === 'value' && !outputs.some((o) => o.base === base),
      (op, args) => choiceFor(anyDefinitionOf(op), op, args, device),
    );
    const { launches, segments } = segmentLaunches(joined, byBase, hoist);
    return { ...place(lowering, launches, segments, outputs, suballocate), segments, inputs: ports };
  });
}

/** Assigns a place to every value that a launch writes. */
function place(
  lowering: Lowering,
  lowered: readonly PlanLaunch[],
  segments: readonly PlanSegment[],
  ports: readonly PlanPort[],
  suballocate: boolean,
): Omit<Plan, 'segments' | 'inputs'> {
  const used = new Set(lowered.flatMap(({ args }) => args.map((arg) => arg.base)));
  const kept = [...lowering.bases.entries()].filter(([i, { kind }]) => kind !== 'value' || used.has(i));
  const bases = kept.map(([, base]) => base);
  const numbers = new Map(kept.map(([before], now) => [before, now]));
  const renumber = <T extends PlanArg>(arg: T): T => ({ ...arg, base: numbers.get(arg.base)! });
  const launches = lowered.map((launch) => ({ ...launch, args: launch.args.map(renumber) }));
  const outputs = ports.map(renumber);
  const ends = new Set(outputs.map((o) => o.base));
  const lives = new Map<number, { bytes: number; first: number; last: number; segment: PlanSegment }>();
  for (const segment of segments) {
    for (let at = segment.from; at < segment.to; at++) {
      for (const { base } of launches[at]!.args) {
        const info = bases[base]!;
        if (info.kind !== 'value' || ends.has(base)) continue;
        const life = lives.get(base);
        if (!life) lives.set(base, { bytes: info.bytes, first: at, last: at, segment });
        else if (life.segment === segment) life.last = Math.max(life.last, at);
        // A later segment reads the value and may run without this one, so the value lives from call to call.
        else Object.assign(life, { first: 0, last: launches.length });
      }
    }
  }
  const values: Lifetime[] = [...lives.values()];
  const memory = planMemory(values, { suballocate });
  const places = new Map([...lives.keys()].map((base, i) => [base, memory.places[i]!]));
  return {
    bases: bases.map((b, i): PlanBase => {
      if (b.kind !== 'value') return b;
      const at = places.get(i);
      return at ? { kind: 'arena', bytes: b.bytes, ...at } : { kind: 'output', bytes: b.bytes };
    }),
    launches,
    outputs,
    buffers: memory.buffers,
    unsharedBytes: values.reduce((n, v) => n + v.bytes, 0),
  };
}
