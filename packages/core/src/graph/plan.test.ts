// Plans on the NULL backend: the kernels that run, the places of values, the launches that a backend compiles.

import { expect, test, vi } from 'vitest';
import { nullBackend } from '../backends/null.ts';
import type { NullBackend } from '../backends/null.ts';
import type { CompiledLaunches, PreparedLaunch } from '../backend.ts';
import { Device } from '../device.ts';
import { keep } from '../scope.ts';
import { full } from '../ops/fill.ts';
import { assign } from '../dispatch.ts';
import { concat } from '../ops/copy.ts';
import { linear, matmul } from '../ops/matmul.ts';
import { groupNorm } from '../ops/norm.ts';
import { add, mul, silu } from '../ops/pointwise.ts';
import { softmax } from '../ops/softmax.ts';
import { Scope } from '../scope.ts';
import { Tensor } from '../tensor.ts';
import { optimize } from './passes/index.ts';
import { planGraph } from './plan.ts';
import type { Plan } from './plan-data.ts';
import { printPlan, printSummary, summarizePlan } from './print-plan.ts';
import { recordGraph } from './record.ts';
import type { Recording } from './record.ts';
import { Replay } from './replay.ts';

type Inputs = Readonly<Record<string, Tensor>>;

function body({ x, w }: Inputs): Tensor {
  const y = silu(linear(x!, w!));
  const normed = groupNorm(y.view([2, 8, 2, 2]), 4);
  return add(concat([normed, normed], 1), 1);
}

function record(device: Device): Recording & { params: Map<string, Tensor>; x: Tensor } {
  const params = new Map([['w', full([8, 8], 0, { device })]]);
  const x = full([8, 8], 0, { device });
  return {
    ...recordGraph(({ x: input }) => body({ x: input!, w: params.get('w')! }), { x }, params),
    params,
    x,
  };
}

const planOf = (r: Recording & { params: Map<string, Tensor> }, device: Device, fused = false): Plan =>
  planGraph(fused ? optimize(r.graph) : r.graph, { device, params: r.params, constants: r.constants });

/** Labels of the kernels that ran since `before`. */
const ran = (backend: NullBackend, before: number): readonly string[] => backend.runs.slice(before);

test('a plan prints its launches and places, and says what it saves', () => {
  const device = new Device(nullBackend());
  const recording = record(device);
  const plan = planOf(recording, device, true);
  expect(printPlan(plan)).toMatchInlineSnapshot(`
    "f32[8,8]@0 = matmul/null(f32[8,8] i:x, f32[8,8] p:w)
    f32[2,8,2,2]@512 = groupNorm/null(f32[2,8,2,2]@0)
    f32[2,16,2,2]@0 = copy/null(f32[2,8,2,2]@512, f32[2,8,2,2]@512)
    f32[2,16,2,2] output = map/null(f32[2,16,2,2]@0)"
  `);
  expect(printSummary(summarizePlan(plan, recording.graph))).toMatchInlineSnapshot(
    `"5 ops → 4 kernels, 4 at every call; values 0.0 MiB → 0.0 MiB in 1 buffer"`,
  );
});

test('the least time of a call is its launches, each at the rate of its arithmetic or of memory', () => {
  const device = new Device(nullBackend());
  const { graph, constants } = recordGraph(({ x, w }) => matmul(add(x!, 1), w!), {
    x: Tensor.abstract('float32', [4, 8], device),
    w: Tensor.abstract('float32', [8, 2], device),
  });
  const plan = planGraph(graph, { device, params: new Map(), constants });
  const ms = (flops: number, bandwidth: number): number =>
    summarizePlan(plan, graph, { flops: { float32: flops }, bandwidth }).rooflineMs!;
  const bytes = 4 * (2 * 4 * 8 + (4 * 8 + 8 * 2 + 4 * 2)); // of the sum, of the product
  expect(ms(Infinity, 1000)).toBeCloseTo(bytes);
  expect(ms(1000, Infinity)).toBeCloseTo(4 * 8 + 2 * 4 * 8 * 2);
  expect(ms(1000, 1000)).toBeCloseTo(4 * 2 * 4 * 8 + Math.max(2 * 4 * 8 * 2, 4 * (4 * 8 + 8 * 2 + 4 * 2)));
  expect(summarizePlan(plan, graph).rooflineMs).toBeUndefined();
});

/** On this backend norms decompose. */
const picky = (): NullBackend =>
  nullBackend({ choices: (op) => (op.kind === 'groupNorm' ? [] : [{ id: 'null' }]) });

test.each([nullBackend, picky])(
  'without passes it runs the kernels that eager runs, in order (%o)',
  (make) => {
    const backend = make();
    const device = new Device(backend);
    const recording = record(device);
    const { params, x } = recording;
    const start = backend.runs.length;
    body({ x, w: params.get('w')! }).dispose();
    const eager = ran(backend, start);
    using replay = new Replay(planGraph(recording.graph, { device, ...recording }, { hoist: false }), device);
    replay.bind(params);
    const before = backend.runs.length;
    replay.run();
    expect(ran(backend, before)).toEqual(eager);
    expect(eager.length).toBe(make === picky ? 10 : 5);
  },
);

test('a backend that compiles gets prepared launches once, and again when weights move', () => {
  const run = vi.fn();
  const dispose = vi.fn();
  const compile = vi.fn(() => ({ run, [Symbol.dispose]: dispose }));
  const backend = Object.assign(nullBackend(), { compile });
  const device = new Device(backend);
  const recording = record(device);
  const plan = planOf(recording, device);
  const replay = new Replay(plan, device);
  replay.bind(recording.params);
  const before = backend.runs.length;
  replay.run();
  replay.run();
  expect([compile.mock.calls.length, run.mock.calls.length, backend.runs.length - before]).toEqual([1, 2, 0]);
  replay.bind(recording.params);
  expect([compile.mock.calls.length, dispose.mock.calls.length]).toEqual([2, 1]);
  device.profile.enabled = true; // the profile is by kernel
  replay.run();
  expect(backend.runs.length - before).toBe(plan.launches.length);
  replay[Symbol.dispose]();
  expect(dispose).toHaveBeenCalledTimes(2);
});

test('a plan gives its memory back, also when it cannot have all of it', () => {
  const backend = nullBackend({ maxBytes: 8000, poolBuffers: false });
  const device = new Device(backend);
  using memory = new Scope();
  const recording = memory.run(() => record(device));
  const before = backend.allocated;
  const replay = new Replay(planOf(recording, device), device);
  replay.bind(recording.params);
  expect(backend.allocated).toBeGreaterThan(before);
  replay[Symbol.dispose]();
  expect(backend.allocated).toBe(before);
  const hog = keep(full([1536], 0, { device }));
  const late = new Replay(planOf(recording, device), device);
  expect(() => late.bind(recording.params)).toThrow('null: ');
  hog.dispose();
  expect(backend.allocated).toBe(before);
  late.bind(recording.params);
  late.release();
  late.release();
  expect(backend.allocated).toBe(before);
});

test('missing weights and inputs are named', () => {
  const device = new Device(nullBackend());
  const recording = record(device);
  using replay = new Replay(planOf(recording, device), device);
  expect(() => replay.bind(new Map())).toThrow("replay: param 'w' is missing");
  expect(() => replay.set('y', recording.x)).toThrow("replay: there is no input 'y'");
  expect(() => replay.set('x', mul(recording.x, 2).view([64]))).toThrow('does not fit in [8,8]');
});

test('a backend is told which arguments of the launches of every call stay as they are', () => {
  const compiled: (readonly PreparedLaunch[])[] = [];
  const compile = (launches: readonly PreparedLaunch[]): CompiledLaunches => {
    compiled.push(launches);
    return { packedBytes: 2 ** 20 * launches.length, run() {}, [Symbol.dispose]() {} };
  };
  const device = new Device({ ...nullBackend(), compile });
  const zeros = (...shape: number[]): Tensor => full(shape, 0, { device });
  const params = new Map([['w', zeros(8, 8)]]);
  const { graph, constants } = recordGraph(
    ({ x, text }) => {
      const made = silu(params.get('w')!);
      const seen = linear(text!, made);
      return add(linear(linear(x!, params.get('w')!), made), seen);
    },
    { x: zeros(4, 8), text: zeros(4, 8) },
    params,
  );
  const plan = planGraph(graph, { device, params, constants });
  using replay = new Replay(plan, device);
  replay.bind(params);
  const fixed = compiled.map((launches) => launches.map((s) => [s.kernel.label, ...s.fixed]));
  expect(fixed).toEqual([
    [['map/null', false, false]], // runs once
    [['matmul/null', false, false, false]], // runs when the text changes
    [
      ['matmul/null', false, true, false],
      ['matmul/null', false, true, false],
      ['map/null', false, false, false],
    ],
  ]);
  expect(replay.packedBytes).toBe(5 * 2 ** 20);
  expect(printSummary(summarizePlan(plan, graph, undefined, replay.packedBytes))).toMatch(
    / in 1 buffer; weights packed 5\.0 MiB$/,
  );
});

test('what the first input does not reach runs again only when what it reads changed', () => {
  const backend = nullBackend();
  const device = new Device(backend);
  const zeros = (...shape: number[]): Tensor => full(shape, 0, { device });
  const params = new Map([['w', zeros(8, 8)]]);
  const inputs = { x: zeros(4, 8), time: zeros(1), text: zeros(4, 8) };
  const { graph } = recordGraph(
    ({ x, time, text }) => {
      const w = silu(params.get('w')!);
      const [t, c] = [softmax(add(time!, 1)), linear(text!, w)];
      return add(add(linear(x!, w), c), mul(softmax(c), t));
    },
    inputs,
    params,
  );
  const plan = planGraph(graph, { device, params, constants: new Map() });
  expect(plan.segments).toEqual([
    { reads: [], from: 0, to: 1 },
    { reads: ['time'], from: 1, to: 3 },
    { reads: ['text'], from: 3, to: 5 },
    { reads: ['time', 'text'], from: 5, to: 6 },
    { reads: ['x', 'time', 'text'], from: 6, to: 9 },
  ]);
  using replay = new Replay(plan, device);
  replay.bind(params);
  const call = (given: { x: Tensor; time: Tensor | number; text: Tensor }): number => {
    for (const [name, value] of Object.entries(given)) replay.set(name, value);
    const before = backend.runs.length;
    replay.run();
    return backend.runs.length - before;
  };
  expect(call(inputs)).toBe(9);
  expect(call(inputs)).toBe(3);
  expect(call({ ...inputs, x: zeros(4, 8) })).toBe(3);
  expect(call({ ...inputs, time: 5 })).toBe(3 + 2 + 1);
  expect(call({ ...inputs, time: 5 })).toBe(3);
  expect(call({ ...inputs, time: 6 })).toBe(3 + 2 + 1);
  expect(call({ ...inputs, time: 5 })).toBe(3 + 1); // what depends on the number alone is known
  expect(call({ ...inputs, time: 6 })).toBe(3 + 1);
  expect(call({ ...inputs, time: 6, text: zeros(4, 8) })).toBe(3 + 2 + 1);
  assign(zeros(4, 8), inputs.text); // the same tensor, other values
  expect(call({ ...inputs, time: 6 })).toBe(3 + 2 + 1);
  expect(call({ ...inputs, time: 6, text: inputs.text.alias() })).toBe(3);
  expect(call({ ...inputs, time: 6, text: inputs.text.view([8, 4]).transpose() })).toBe(3 + 2 + 1);
  replay.bind(params);
  expect(call({ ...inputs, time: 6 })).toBe(9);
});
