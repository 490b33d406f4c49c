// trace(), save, load and call on the NULL backend: what is traced, what is refused, who owns what.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { nullBackend } from '../backends/null.ts';
import type { NullBackend } from '../backends/null.ts';
import { log } from '../debug.ts';
import { Device } from '../device.ts';
import { FormatError } from '../errors.ts';
import { HostCopy, isOnHost } from '../nn/host-weights.ts';
import { Linear } from '../nn/layers.ts';
import { Module } from '../nn/module.ts';
import type { AnyModule } from '../nn/module.ts';
import { full } from '../ops/fill.ts';
import { concat } from '../ops/copy.ts';
import { map } from '../ops/map.ts';
import { add, silu } from '../ops/pointwise.ts';
import { keep, scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import { recordGraph } from './record.ts';
import { loadTraced, parseTraced, trace } from './traced.ts';
import type { TracedModule } from './traced.ts';

interface Options {
  readonly extra?: { readonly shift: Tensor };
  readonly double?: boolean;
}
type Args = [x: Tensor, time: number | Tensor, options?: Options];
interface Out {
  readonly sample: Tensor;
  readonly states: readonly Tensor[];
}

class Net extends Module<Args, Out> {
  inner: Linear = new Linear(8, 8);
  override name = 'net';
  readonly config = { width: 8 };

  override forward(x: Tensor, time: number | Tensor, options: Options = {}): Out {
    const t = typeof time === 'number' ? full([1], time, { device: x.deviceOrNone }) : time;
    let y = silu(add(this.inner.call(x), t));
    if (options.extra) y = add(y, options.extra.shift);
    if (options.double) y = add(y, y);
    return { sample: y, states: [x, add(y, 1)] };
  }
}

let backend: NullBackend;
let device: Device;
let net: Net;
const zeros = (...shape: number[]): Tensor => full(shape, 0, { device });
beforeEach(() => {
  backend = nullBackend();
  device = new Device(backend);
  net = new Net();
  for (const key of ['weight', 'bias'])
    net.inner.setParameter(key, keep(full(key === 'bias' ? [8] : [8, 8], 1, { device })));
});

test('a traced module is called as the module was, and gives tensors of the same structure and shape', async () => {
  const traced = await trace(net, [zeros(2, 8), 500]);
  expect([traced.name, traced.config, traced.device, traced.dtype]).toEqual([
    'net',
    { width: 8 },
    device,
    'float32',
  ]);
  const { sample, states } = traced.call(zeros(2, 8), 3, {});
  expect([sample, ...states].map(String)).toEqual(['float32[2,8]', 'float32[2,8]', 'float32[2,8]']);
  expect(traced.call(zeros(2, 8), zeros(1)).sample.shape).toEqual([2, 8]);
  expect(traced.summary()).toMatch(
    /^\(float32\[2,8\], float32\[1\]\): 4 ops → 2 kernels, 2 at every call; values .* in 0 buffers$/,
  );
});

test('results are memory of their own: a later call does not change them', async () => {
  const traced = await trace(net, [zeros(2, 8), 500]);
  const [a, b] = [traced.call(zeros(2, 8), 1), traced.call(zeros(2, 8), 2)];
  expect(a.sample.storage('test')).not.toBe(b.sample.storage('test'));
  const live = device.memory().live;
  const c = traced.call(zeros(2, 8), 3);
  for (const t of [c.sample, ...c.states]) t.dispose();
  expect(device.memory().live - live).toBe(256); // the zeros
});

describe('a call that was not traced', () => {
  let traced: TracedModule<Args, Out>;
  beforeEach(async () => {
    traced = await trace(net, [zeros(2, 8), zeros(1), { double: true }]);
    await traced.add([zeros(4, 8), 1, { extra: { shift: zeros(8) } }]);
  });
  const known =
    '[net] call: was traced for (float32[2,8], float32[1], { double: true }) and (float32[4,8], float32[1], { extra: { shift: float32[8] } })';

  test.each<[string, () => Args, string]>([
    ['shape', () => [zeros(3, 8), 1, { double: true }], '(float32[3,8], 1, { double: true })'],
    [
      'dtype',
      () => [full([2, 8], 0, { device, dtype: 'float16' }), 1, { double: true }],
      '(float16[2,8], 1, { double: true })',
    ],
    ['option', () => [zeros(2, 8), 1, { double: false }], '(float32[2,8], 1, { double: false })'],
    ['missing option', () => [zeros(2, 8), 1], '(float32[2,8], 1)'],
    ['missing tensor', () => [zeros(4, 8), 1, { double: true }], '(float32[4,8], 1, { double: true })'],
  ])('of another %s says which were', (_, args, given) => {
    expect(() => traced.call(...args())).toThrow(`${known}, got ${given}`);
  });

  test('is traced when asked, and each shape finds its own', () => {
    expect(traced.call(zeros(4, 8), 1, { extra: { shift: zeros(8) } }).sample.shape).toEqual([4, 8]);
    expect(traced.call(zeros(2, 8), 1, { double: true }).sample.shape).toEqual([2, 8]);
    expect(traced.plans.length).toBe(2);
  });
});

test('arguments that are no data are refused by name', async () => {
  const odd = { options: () => 1 } as unknown as Options;
  await expect(trace(net, [zeros(2, 8), 1, odd])).rejects.toThrow('trace: arg2.options is of type function');
  await expect(trace({ call: () => zeros(1) }, [])).rejects.toThrow('the module has no stateDict()');
});

test('a hook that cannot run inside a trace is named', async () => {
  net.inner.addHook({ name: 'offload' });
  await expect(trace(net, [zeros(2, 8), 1])).rejects.toThrow(
    "hook 'offload' on inner cannot run inside a trace",
  );
});

test('it cannot be moved or converted', async () => {
  const traced = await trace(net, [zeros(2, 8), 1]);
  await expect(traced.to({ dtype: 'float16' })).rejects.toThrow(
    'net: a traced module cannot be moved or converted (to() asked for dtype); call to() on the module first',
  );
});

test('replaced weights are seen: bound anew, and planned anew when their layout changed', async () => {
  const traced = await trace(net, [zeros(2, 8), 1]);
  const [plan] = traced.plans;
  net.inner.setParameter('weight', keep(full([8, 8], 2, { device })));
  traced.call(zeros(2, 8), 1);
  expect(traced.plans[0]).toBe(plan);
  net.inner.setParameter('weight', keep(full([8, 8], 2, { device }).transpose()));
  traced.call(zeros(2, 8), 1);
  expect(traced.plans[0]).not.toBe(plan);
  net.inner.weight.dispose();
  expect(() => traced.call(zeros(2, 8), 1)).toThrow('was disposed');
  expect(() => traced.call(zeros(2, 8), 1)).toThrow('was disposed');
});

describe('weights in host memory', () => {
  /** As offload does. */
  const leave = (weights: AnyModule): void => {
    for (const [, module] of weights.namedModules()) {
      for (const [key, p] of [...module.ownParameters()])
        module.setParameter(key, new HostCopy(p.spec, device, new Uint8Array(p.bytes)).placeholder());
      module.weightsLeft();
    }
  };
  const come = (weights: AnyModule): void => {
    for (const [, module] of weights.namedModules())
      for (const [key] of [...module.ownParameters()])
        module.setParameter(key, keep(full([...(key.endsWith('bias') ? [8] : [8, 8])], 1, { device })));
  };
  const comesWhenNeeded = (weights: AnyModule): void =>
    weights.addHook({
      name: 'bring',
      traceable: true,
      bringWeights: () => weights.isOnHost && come(weights),
    });

  test('take the memory of the plan with them; it is made again, and nothing that was kept is taken for valid', async () => {
    const [x, text] = [zeros(2, 8), zeros(8)];
    const traced = await trace(net, [x, 1, { extra: { shift: text } }]);
    const call = (): number => {
      const before = backend.runs.length;
      const { sample, states } = traced.call(x, 1, { extra: { shift: text } });
      for (const t of [sample, ...states]) t.dispose();
      return backend.runs.slice(before).filter((label) => label !== 'fill/null').length; // weights that come
    };
    const [plan] = traced.plans;
    const live = device.memory().live;
    const first = call();
    expect(call()).toBeLessThan(first); // slots hold what they held
    const prepare = vi.spyOn(backend, 'prepare');
    expect(device.memory().live).toBeGreaterThan(live);
    leave(net);
    expect(device.memory().live).toBe(live - 512); // less the two weights
    expect(call).toThrow(
      '[net] trace: weights are in host memory, and a replay needs all of them on the device',
    );
    expect(device.memory().live).toBe(live - 512);
    comesWhenNeeded(net);
    expect(call()).toBe(first);
    expect(traced.plans[0]).toBe(plan);
    expect(prepare.mock.calls.map(([op]) => op.kind).filter((kind) => kind !== 'fill')).toEqual([]);
    traced.dispose();
  });

  test('need not come for a trace to be made, from the module or from a file', async () => {
    leave(net);
    const x = zeros(2, 8);
    const live = device.memory().live;
    const traced = await trace(net, [x, 1]);
    const loaded = await parseTraced<Args, Out>(await traced.serialize(), 'f', {
      device,
      params: net.stateDict(),
    });
    expect(traced.plans).toEqual(loaded.plans);
    for (const module of [traced, loaded]) {
      expect([...module.namedParameters()].map(([path, p]) => [path, isOnHost(p)])).toEqual([
        ['inner.weight', true],
        ['inner.bias', true],
      ]);
      comesWhenNeeded(module);
      expect(scope(() => module.call(x, 1).sample.shape)).toEqual([2, 8]);
      leave(module);
    }
    expect(net.isOnHost).toBe(true);
    expect(device.memory().live).toBe(live);
    loaded.dispose();
    traced.dispose();
  });

  test('a trace that holds no memory listens to no module', async () => {
    const traced = await trace(net, [zeros(2, 8), 1]);
    const [add, remove] = [vi.spyOn(net, 'addHook'), vi.spyOn(net, 'removeHook')];
    for (let i = 0; i < 2; i++) traced.call(zeros(2, 8), 1);
    expect([add.mock.calls.length, remove.mock.calls.length]).toEqual([1, 0]);
    traced.release();
    expect(remove.mock.results.map((r) => r.value as boolean)).toEqual([true]);
    traced.release();
    expect(remove).toHaveBeenCalledTimes(1);
  });
});

test('disposing it frees plans, constants and the weights it took over', async () => {
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  const live = device.memory().live;
  const stray = zeros(8);
  const sample = zeros(2, 8);
  const traced = await trace(
    {
      call: (x: Tensor) => add(net.inner.call(x), stray),
      stateDict: () => net.stateDict(),
      dispose: () => net.dispose(),
      device,
    },
    [sample],
  );
  expect(warn.mock.calls[0]![0]).toContain('captured as constant.0');
  stray.dispose();
  traced.call(sample).dispose();
  sample.dispose();
  traced.dispose();
  expect(device.memory().live).toBe(live - 512); // less the two weights
  warn.mockRestore();
});

test('a traced module inside another trace is recorded op by op', async () => {
  const traced = await trace(net, [zeros(2, 8), 1]);
  const { graph } = recordGraph(({ x }) => traced.call(x!, 3).sample, { x: zeros(2, 8) }, net.stateDict());
  expect(graph.nodes.some((n) => n.op.kind === 'matmul')).toBe(true);
});

describe('files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-trace-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'net.graph.json');

  async function sampleText(): Promise<string> {
    vi.spyOn(log, 'warn').mockImplementation(() => {});
    const constant = { data: async () => new Float32Array([1, 2, 3, 4, 5, 6, 7, 8]) };
    const stray = Object.assign(zeros(8), constant); // this backend holds no values to read
    vi.spyOn(stray, 'alias').mockImplementation(() => stray as Tensor);
    const body = (x: Tensor, time: number | Tensor): unknown => {
      const { sample, states } = net.forward(x, time);
      return {
        sample: add(sample, stray),
        states: [map(['mul', ['in', 0], 2], [concat([sample, ...states], 1)])],
      };
    };
    const traced = await trace({ ...about(), call: body }, [zeros(2, 8), 1]);
    await traced.add([zeros(3, 8), 1]);
    return traced.serialize();
  }
  const about = (): { name: string; config: Record<string, unknown>; device: Device; stateDict: () => Map<string, Tensor> } => ({
    name: 'net', config: net.config, device, stateDict: () => net.stateDict(),
  }); // prettier-ignore

  test('save and load in another process: same kernels, several shapes, weights by name', async () => {
    const traced = await trace(net, [zeros(2, 8), 1]);
    await traced.add([zeros(5, 8), 1, { double: true }]);
    await traced.save(path);
    expect(readdirSync(folder)).toEqual(['net.graph.json']);
    const elsewhere = new Device(nullBackend());
    const params = new Map([['inner.weight', full([8, 8], 1, { device: elsewhere })], ['inner.bias', full([8], 1, { device: elsewhere })]]); // prettier-ignore
    const loaded = await loadTraced<Args, Out>(path, { device: elsewhere, params });
    expect(loaded.plans).toEqual(traced.plans);
    expect(loaded.config).toEqual({ width: 8 });
    const x = full([5, 8], 0, { device: elsewhere });
    expect(loaded.call(x, 7, { double: true }).sample.shape).toEqual([5, 8]);
    await expect(loaded.add([x, 1])).rejects.toThrow('net: was loaded from a file');
    expect(await loaded.serialize()).toBe(readFileSync(path, 'utf8'));
    loaded.dispose();
    expect(params.get('inner.bias')!.isDisposed).toBe(true);
  });

  test('params that do not fit', async () => {
    const text = await (await trace(net, [zeros(2, 8), 1])).serialize();
    const load = (params: Map<string, Tensor>): Promise<unknown> =>
      parseTraced(text, 'f.json', { device, params });
    const weight = full([8, 8], 1, { device });
    await expect(load(new Map())).rejects.toThrow(
      "f.json: is a trace of 'net' with other weights than these 0: of its 2, 2 are missing (inner.weight, inner.bias)",
    );
    const other = new Map([['inner.weight', weight], ['inner.bias', zeros(4)]]); // prettier-ignore
    await expect(load(other)).rejects.toThrow(
      "f.json: is a trace of 'net' with other weights than these 2: of its 2, 1 has another type ('inner.bias' is float32[8] there, float32[4] here)",
    );
    const foreign = new Map(Array.from({ length: 9 }, (_, i) => [`block.${i}.weight`, weight] as const));
    const error = (await load(foreign).catch((e: unknown) => e)) as Error;
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toBe(
      "f.json: is a trace of 'net' with other weights than these 9: of its 2, 2 are missing (inner.weight, inner.bias); instead there are block.0.weight, block.1.weight, block.2.weight, … (9)",
    );
    const stranger = full([8], 1, { device: new Device(nullBackend()) });
    await expect(load(new Map([['inner.bias', stranger]]))).rejects.toThrow(
      "param 'inner.bias' is on null, not on null",
    );
  });

  test('a missing or foreign file', async () => {
    const options = { device, params: new Map() };
    await expect(loadTraced(join(folder, 'none.json'), options)).rejects.toThrow(
      'none.json: cannot be read (ENOENT)',
    );
    writeFileSync(join(folder, 'x.json'), '{"a":1}');
    await expect(loadTraced(join(folder, 'x.json'), options)).rejects.toThrow(
      "is not a trace (no format 'darkroom.trace')",
    );
    await expect(parseTraced('{"format":"darkroom.trace","version":9}', 'f', options)).rejects.toThrow(
      'f: has version 9, this version reads 1',
    );
  });

  test('a damaged file is refused with a FormatError, whatever was changed', async () => {
    const text = await sampleText();
    const params = net.stateDict();
    const whole = await parseTraced(text, 'f', { device, params });
    expect(await whole.call(zeros(3, 8), 1)).toBeDefined();
    const json = JSON.parse(text) as unknown;
    const paths: (string | number)[][] = [];
    const walk = (v: unknown, at: (string | number)[]): void => {
      if (at.length > 0) paths.push(at);
      if (typeof v === 'object' && v !== null)
        for (const [k, child] of Object.entries(v)) walk(child, [...at, k]);
    };
    walk(json, []);
    const junk = fc.constantFrom<unknown>(
      null,
      -1,
      1e9,
      0.5,
      'x',
      [],
      {},
      [1e9, 1e9, 1e9],
      ['exec', 1],
      true,
      { $tensor: 'x' },
      { $tensor: 1 },
    );
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(paths.length - 1), junk, fc.boolean(), async (at, value, remove) => {
        const copy = JSON.parse(text) as Record<string, unknown>;
        let target = copy as Record<string | number, unknown>;
        for (const key of paths[at]!.slice(0, -1)) target = target[key] as Record<string | number, unknown>;
        if (remove) delete target[paths[at]!.at(-1)!];
        else target[paths[at]!.at(-1)!] = value;
        try {
          (await parseTraced(JSON.stringify(copy), 'f', { device, params })).call(zeros(2, 8), 1);
        } catch (error) {
          refused++;
          // Changed but valid: other weights asked for, other shapes traced.
          const sound = /^f: is a trace of|^.*: was traced for/.test((error as Error).message);
          if (sound) return;
          expect(error).toBeInstanceOf(FormatError);
          expect((error as Error).message.startsWith('f:')).toBe(true);
        }
      }),
      { numRuns: 1500 },
    );
    expect(refused).toBeGreaterThan(1000);
  });
});
