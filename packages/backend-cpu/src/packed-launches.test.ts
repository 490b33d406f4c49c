// Plans with packed weights: they give eager's bits, follow their weights, and give their memory back.

import {
  add,
  Conv2d,
  denseWeight,
  keep,
  Linear,
  log,
  matmul,
  Module,
  OutOfMemoryError,
  scope,
  silu,
  trace,
} from '@darkroom/core';
import { assign } from '@darkroom/core/backend';
import type { Device, Tensor } from '@darkroom/core';
import { buildInput } from '@darkroom/core/testing';
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cpu } from './backend.ts';
import { PackedMemory, PackedLaunches } from './packed-launches.ts';
import type { PlacedLaunch } from './packed-launches.ts';
import { Engine } from './simd/engine.ts';
import { calledAs } from './simd/packing.ts';
import { prepareProduct, tiles } from './simd/product.ts';

let device: Device;
beforeEach(async () => void (device = await cpu({ threads: 2 })));
afterEach(() => device[Symbol.dispose]());

const random = (seed: number, ...shape: number[]): Tensor => keep(buildInput({ shape }, seed, device));

/** Winograd, a pointwise and a strided convolution, a product, and one with a matrix made of the weight. */
class Net extends Module<[Tensor], Tensor> {
  winograd: Conv2d = new Conv2d(16, 16, 3, { padding: 1 });
  pointwise: Conv2d = new Conv2d(16, 16, 1);
  strided: Conv2d = new Conv2d(16, 8, 3, { stride: 2, padding: 1 });
  linear: Linear = new Linear(64, 24);

  override forward(x: Tensor): Tensor {
    const y = this.strided.call(silu(this.pointwise.call(silu(this.winograd.call(x)))));
    const flat = y.view([8, 64]);
    const made = silu(denseWeight(this.linear.weight));
    return add(this.linear.call(flat), matmul(flat, made.permute(1, 0)));
  }
}

function netOf(): Net {
  const net = new Net();
  let seed = 1;
  for (const [path, shape] of Object.entries({
    winograd: [16, 16, 3, 3],
    pointwise: [16, 16, 1, 1],
    strided: [8, 16, 3, 3],
    linear: [24, 64],
  })) {
    const layer = net[path as 'winograd' | 'linear'];
    layer.setParameter('weight', random(seed++, ...shape));
    layer.setParameter('bias', random(seed++, shape[0]!));
  }
  return net;
}

const valuesOf = (call: () => Tensor): ArrayLike<number> => scope(() => call()).dataSync();

test('a traced call has the bits of the eager one, and a weight written in place is seen', async () => {
  const net = netOf();
  const [x, other] = [random(50, 1, 16, 16, 16), random(51, 1, 16, 16, 16)];
  const weight = random(52, 24, 64);
  const kernel = random(53, 16, 16, 3, 3);
  const traced = await trace(net, [x], { passes: [] });
  // Rows filled up to panels of six, columns to panels of eight; Winograd's form has 16 values.
  const panels = 16 * 18 * 16 + 18 * 16 + 12 * 144 + 2 * 24 * 64;
  const check = (): void => {
    for (const input of [x, other])
      expect(valuesOf(() => traced.call(input))).toEqual(valuesOf(() => net.call(input)));
  };
  check();
  expect(traced.summaries()[0]!.packedBytes).toBe(4 * panels);
  assign(weight, denseWeight(net.linear.weight));
  assign(kernel, denseWeight(net.winograd.weight));
  check();
  device.backend.trim!(); // as core does when memory runs out
  check();
  traced.dispose();
});

test('a captured tensor written in place is seen', async () => {
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  const [x, weight] = [random(1, 4, 8), random(2, 8, 8)];
  const captures = { call: (given: Tensor) => matmul(given, weight), stateDict: () => new Map(), device };
  const traced = await trace(captures, [x]);
  const eager = (): ArrayLike<number> => valuesOf(() => captures.call(x));
  expect(valuesOf(() => traced.call(x))).toEqual(eager());
  assign(random(3, 8, 8), weight);
  expect(valuesOf(() => traced.call(x))).toEqual(eager());
  expect(traced.summaries()[0]!.packedBytes).toBe(4 * 8 * 8);
  expect(warn).toHaveBeenCalled();
  traced.dispose();
});

const engine = await Engine.create({ threads: 1 });
afterAll(() => engine.dispose());

interface TestLaunch extends PlacedLaunch {
  result(): number[];
  /** Zeroes the weight, so that only a packed copy still has its values. */
  forget(): void;
}

/** A product with a weight of k rows and n columns. */
function launchOf(m: number, n: number, k: number): TestLaunch {
  const product = prepareProduct(
    engine,
    {
      m, n, k, weight: 'b', a: { dtype: 'float32', row: k, k: 1 }, b: { dtype: 'float32', k: n, column: 1 },
      c: { row: n, column: 1 }, batches: [[0, 0, 0]],
    },
    tiles[0]!,
  ); // prettier-ignore
  const sizes = [m * k, k * n, m * n];
  const pointers = sizes.map((s) => engine.alloc(4 * s));
  const floats = (i: number): Float32Array => new Float32Array(engine.memory.buffer, pointers[i]!, sizes[i]!);
  for (const i of [0, 1]) floats(i).forEach((_, j, all) => (all[j] = Math.sin(j * 12.9898 + i)));
  return {
    kernel: calledAs(product, (run) => (p) => run(p[0]!, p[1]!, p[2]!)),
    pointers,
    scalars: [],
    fixed: [false, true, false],
    result: () => [...floats(2)],
    forget: () => void floats(1).fill(0),
  };
}

/** Blocks of the heap allocated by `work` and not freed. */
function kept(work: () => void): number {
  const alloc = vi.spyOn(engine, 'alloc');
  const free = vi.spyOn(engine, 'free');
  work();
  const allocated = alloc.mock.results.filter(({ type }) => type === 'return').length;
  const given = free.mock.calls.length;
  vi.restoreAllMocks();
  return allocated - given;
}

/** Which of the launches run on packed copies; all must give what their kernels give by themselves. */
function packedOf(launches: readonly TestLaunch[], compiled: PackedLaunches): boolean[] {
  const want = launches.map(({ kernel, pointers, result }) => (kernel.run(pointers, []), result()));
  compiled.run();
  expect(launches.map((s) => s.result())).toEqual(want);
  for (const s of launches) s.forget();
  compiled.run();
  return launches.map((s, i) => s.result().every((v, j) => v === want[i]![j]));
}

test('what exceeds the budget is packed at every call, and memory comes back', () => {
  const launches = [
    launchOf(4, 8, 100),
    launchOf(4, 8, 50),
    { ...launchOf(4, 8, 10), fixed: [false, false, false] },
  ];
  for (const s of launches) s.kernel.packed!(); // whose tables stay
  const memory = new PackedMemory(4 * 8 * 100 + 100);
  const compile = (): PackedLaunches => new PackedLaunches(engine, memory, launches);
  let compiled: PackedLaunches | undefined;
  const two = (): void => {
    compiled = compile();
    expect(compiled.packedBytes).toBe(4 * 8 * 100);
    expect(packedOf(launches, compiled)).toEqual([true, false, false]);
  };
  expect(kept(two)).toBe(1);
  expect(compile().packedBytes).toBe(0);
  expect(kept(() => memory.drop())).toBe(-1);
  expect(kept(() => compiled!.run())).toBe(1);
  expect(kept(() => compiled![Symbol.dispose]())).toBe(-1);
  expect(kept(() => compiled![Symbol.dispose]())).toBe(0);
  expect(compile().packedBytes).toBe(4 * 8 * 100);
});

test('what saves most for its bytes is packed first', () => {
  const ran: string[] = [];
  const launch = (name: string, saves: number, bytes: number): PlacedLaunch => ({
    kernel: {
      run: () => void ran.push(name),
      packed: () => ({ bytes, saves, pack() {}, run: () => void ran.push(`${name} packed`) }),
    },
    pointers: [0, 0, 0],
    scalars: [],
    fixed: [false, true, false],
  });
  const launches = [
    launch('once', 100, 100),
    launch('thrice', 300, 100),
    launch('large', 500, 1000),
    launch('small', 1, 4),
  ];
  using compiled = new PackedLaunches(engine, new PackedMemory(204), launches);
  compiled.run();
  expect(ran).toEqual(['once packed', 'thrice packed', 'large', 'small packed']);
});

test('without memory for all copies the launches run without any', () => {
  const launches = [launchOf(4, 8, 100), launchOf(4, 16, 100)];
  const memory = new PackedMemory(2 ** 20);
  const compiled = new PackedLaunches(engine, memory, launches);
  const alloc = engine.alloc.bind(engine);
  vi.spyOn(engine, 'alloc')
    .mockImplementationOnce(alloc)
    .mockImplementation(() => {
      throw new OutOfMemoryError('full');
    });
  const free = vi.spyOn(engine, 'free');
  expect(packedOf(launches, compiled)).toEqual([false, false]);
  expect(free).toHaveBeenCalledTimes(1);
  expect(compiled.packedBytes).toBe(0);
  expect(memory.take(2 ** 20)).toBe(true);
  vi.restoreAllMocks();
});
