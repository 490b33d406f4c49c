// The device around the kernels: errors that arrive late, memory, order of uploads and commands, submits.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  add,
  custom,
  DeviceError,
  groupNorm,
  map,
  mul,
  OutOfMemoryError,
  Scope,
  tensor,
  trace,
  zeros,
} from '@darkroom/core';
import { Device } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { openAdapter } from './adapter.ts';
import { webgpu, WebGpuBackend } from './index.ts';
import { adapterIsMissing } from './node/testing.ts';

const missing = await adapterIsMissing();

describe.skipIf(missing)('webgpu device', () => {
  let device: Device;
  let backend: WebGpuBackend;
  beforeAll(async () => {
    device = await webgpu();
    backend = device.backend as WebGpuBackend;
  });
  afterAll(() => device?.[Symbol.dispose]());

  test('a shader that does not compile is a DeviceError with its label and the line, each time it is used', async () => {
    const fresh = await webgpu();
    const op = {
      name: 'broken',
      output: { shape: [1], dtype: 'float32' },
      sources: { webgpu: 'fn main() { let x = ; }' },
    } as const;
    const x = tensor([1], { device: fresh });
    await expect(custom(op, [x]).data()).rejects.toThrow(/webgpu: custom\/broken does not compile: .*:1:21/s);
    expect(() => custom(op, [x])).toThrow(/custom\/broken does not compile/);
    // Other work goes on.
    expect([...(await add(x, x).data())]).toEqual([2]);
    fresh[Symbol.dispose]();
  });

  test('a lost device is a DeviceError at every later use', async () => {
    const opened = await openAdapter({});
    const lost = new Device(new WebGpuBackend(opened));
    const x = tensor([1, 2], { device: lost });
    await lost.idle();
    opened.device.destroy();
    await opened.device.lost;
    await expect(x.data()).rejects.toThrow(/webgpu: the device was lost/);
    await expect(lost.idle()).rejects.toThrow(DeviceError);
    expect(() => zeros([4], { device: lost })).toThrow(/webgpu: the device was lost/);
  });

  test('more memory than one buffer holds is refused with both sizes', () => {
    expect(() => device.allocate(2 ** 33)).toThrow(OutOfMemoryError);
    expect(() => device.allocate(2 ** 33)).toThrow(
      /8589934592 bytes asked for, one buffer holds at most \d+/,
    );
    expect(device.memory().live).toBe(0);
  });

  test('uploads and commands keep their order, whatever the size', async () => {
    using memory = new Scope();
    for (const size of [3, 5000, 300_000]) {
      const results = memory.run(() => {
        // A disposed input's buffer goes to the next upload while the command that reads it is still pending.
        return [1, 2, 3].map((k) => {
          const x = tensor(new Float32Array(size).fill(k), { device });
          const y = mul(x, 10);
          x.dispose();
          return y;
        });
      });
      for (const [i, y] of results.entries()) {
        const data = await y.data();
        expect([data[0], data[size - 1]]).toEqual([10 * (i + 1), 10 * (i + 1)]);
      }
    }
  });

  test('a chain of ops is one submit, and makes no new programs the second time', async () => {
    using memory = new Scope();
    const chain = async (): Promise<number> => {
      const before = backend.counters.submits;
      const y = memory.run(() => {
        let x = tensor([1, 2, 3, 4], { device });
        for (let i = 0; i < 100; i++) x = map(['add', ['in', 0], ['scalar', 0]], [x], { scalars: [i] });
        return x;
      });
      expect((await y.data())[0]).toBe(1 + 4950);
      return backend.counters.submits - before;
    };
    expect(await chain()).toBe(1);
    const { programs } = backend.counters;
    expect(await chain()).toBe(1);
    expect(backend.counters.programs).toBe(programs);
  });

  test('memory returns to where it was; odd byte counts round trip', async () => {
    const before = device.memory().live;
    const memory = new Scope();
    const bytes = memory.run(() => tensor(Uint8Array.of(1, 2, 3, 4, 5), { device }));
    expect([...(await bytes.data())]).toEqual([1, 2, 3, 4, 5]);
    const half = memory.run(() => tensor([1, 2, 3], { dtype: 'float16', device }).slice(0, 1, 3));
    expect([...(await half.data())]).toEqual([2, 3]);
    memory.dispose();
    expect(device.memory().live).toBe(before);
    device.emptyCache();
    expect(device.memory().cached).toBe(0);
  });

  test('recorded launches give new results for new inputs, also after scratch memory has moved', async () => {
    const net = {
      device,
      stateDict: () => new Map<string, Tensor>(),
      call: (x: Tensor) => mul(groupNorm(x, 4), add(x, 1)),
    };
    const wide = (n: number, seed: number): Tensor =>
      map(['sin', ['mul', ['index', 3], seed]], [], { shape: [n, 16, 96, 97], device });
    using memory = new Scope();
    const traced = await memory.run(() => trace(net, [wide(1, 1)], { passes: [] }));
    for (const [seed, n] of [
      [0.3, 1],
      [0.7, 40],
      [1.1, 1],
    ] as const) {
      // Scratch for a larger batch is another buffer: what was recorded before does not fit any more.
      memory.run(() => groupNorm(wide(n, seed), 4));
      const x = memory.run(() => wide(1, seed));
      const want = await memory.run(() => net.call(x)).data();
      const { dispatches } = backend.counters;
      const got = memory.run(() => traced.call(x));
      expect(backend.counters.dispatches).toBeGreaterThan(dispatches + 1);
      expect(await got.data()).toEqual(want);
    }
    traced.dispose();
  });

  test('an op may write into the buffer that it reads', async () => {
    using memory = new Scope();
    const all = memory.run(() => tensor([1, 2, 3, 4, 5, 6], { device }));
    const { assign } = await import('@darkroom/core/backend');
    memory.run(() => assign(all.slice(0, 0, 4), all.slice(0, 2, 6)));
    expect([...(await all.data())]).toEqual([1, 2, 1, 2, 3, 4]);
  });
});

test('asking for a software adapter only, or never, is honoured', async () => {
  if (missing) return;
  const wanted = await webgpu({ software: 'only' }).catch((error: unknown) => error as Error);
  const unwanted = await webgpu({ software: 'never' }).catch((error: unknown) => error as Error);
  for (const [answer, software] of [
    [wanted, true],
    [unwanted, false],
  ] as const) {
    if (answer instanceof Error) expect(answer.message).toMatch(/^webgpu: .*(no adapter found|shows no GPU)/);
    else {
      expect(answer.caps.fingerprint.includes(', software')).toBe(software);
      answer[Symbol.dispose]();
    }
  }
});
