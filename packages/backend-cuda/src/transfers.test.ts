// Bytes between host and device: through the staging ring, pinned memory, both queues; and memory that runs out.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { add, full, OutOfMemoryError, zeros } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { cuda } from './index.ts';
import { emulatorIsMissing } from './node/testing.ts';

function numbered(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 255);
}

describe.skipIf(emulatorIsMissing())('cuda transfers', () => {
  let device: Device;
  beforeAll(async () => {
    process.env['DARKROOM_CUDA_EMULATOR_BYTES'] = String(64 << 20); // so that little suffices to run out
    device = await cuda({ emulator: true, cache: false });
  });
  afterAll(() => {
    delete process.env['DARKROOM_CUDA_EMULATOR_BYTES'];
    device[Symbol.dispose]();
  });

  // Small ones go straight; the ring has three chunks of 8 MiB, and is filled anew from the fourth on.
  test.each([0, 1, 1000, (256 << 10) - 1, 256 << 10, (8 << 20) + 5, 33_000_001])(
    '%i bytes arrive',
    (bytes) => {
      const { backend } = device;
      const buffer = backend.alloc(bytes + 3);
      const source = numbered(bytes, 1);
      backend.write({ buffer, offset: 3, bytes }, source);
      source.fill(0); // the source may be reused at once
      const got = backend.readSync!({ buffer, offset: 3, bytes });
      expect(Buffer.compare(got, numbered(bytes, 1))).toBe(0);
      backend.free(buffer);
    },
  );

  test('pinned memory is written and read at once, copied on the copy queue, and given back', async () => {
    const { backend } = device;
    expect(device.caps.pinned).toBe(true);
    const [pinned, other] = [backend.alloc(1000, 'pinned'), backend.alloc(1000, 'pinned')];
    const onDevice = backend.alloc(1000);
    const [compute, copy] = [backend.createQueue('compute'), backend.createQueue('copy')];
    backend.write({ buffer: pinned, offset: 10, bytes: 500 }, numbered(500, 2));
    expect(backend.readSync!({ buffer: pinned, offset: 10, bytes: 500 })).toEqual(numbered(500, 2));
    backend.fence(compute, copy);
    backend.copy(
      { buffer: onDevice, offset: 0, bytes: 500 },
      { buffer: pinned, offset: 10, bytes: 500 },
      copy,
    );
    backend.fence(copy, compute);
    backend.copy({ buffer: onDevice, offset: 500, bytes: 500 }, { buffer: onDevice, offset: 0, bytes: 500 });
    backend.copy({ buffer: other, offset: 0, bytes: 500 }, { buffer: onDevice, offset: 500, bytes: 500 });
    await backend.idle();
    expect(await backend.read({ buffer: other, offset: 0, bytes: 500 })).toEqual(numbered(500, 2));
    backend.copy({ buffer: pinned, offset: 0, bytes: 400 }, { buffer: other, offset: 100, bytes: 400 });
    expect(await backend.read({ buffer: pinned, offset: 0, bytes: 400 })).toEqual(numbered(500, 2).subarray(100)); // prettier-ignore
    for (const buffer of [pinned, other, onDevice]) backend.free(buffer);
    expect(() => backend.free(pinned)).toThrow('freed twice');
  });

  test('buffers cut from regions: the same results, exact accounting, all given back', async () => {
    using other = await cuda({ emulator: true, cache: false, suballocate: true });
    const tensors = [1, 1000, 300_000].map((n) => full([n], 2, { device: other }));
    expect(other.memory()).toMatchObject({
      live: 256 + 4096 + 1_200_128,
      cached: (4 << 20) + (32 << 20) - 256 - 4096 - 1_200_128,
    });
    for (const t of tensors) {
      using sum = add(t, 1);
      expect([...(await sum.data())].every((v) => v === 3)).toBe(true);
    }
    for (const t of tensors) t.dispose();
    other.emptyCache();
    expect(other.memory()).toMatchObject({ live: 0, cached: 0 });
  });

  test('when memory runs out, what is cached goes first, then the error lists what lives', () => {
    const total = device.caps.maxBufferBytes;
    const most = Math.floor(total * 0.6);
    zeros([most], { device, dtype: 'uint8' }).dispose();
    expect(device.memory().cached).toBeGreaterThanOrEqual(most);
    const next = zeros([most + 4096], { device, dtype: 'uint8' }); // another size: not the cached buffer
    expect(device.memory().cached).toBe(0);
    const asked = (): unknown => zeros([most + 8192], { device, dtype: 'uint8' });
    expect(asked).toThrow(OutOfMemoryError);
    expect(asked).toThrow(new RegExp(`the largest: ${Math.ceil((most + 4096) / 256) * 256}`));
    next.dispose();
    device.emptyCache();
    expect(device.memory()).toMatchObject({ live: 0, cached: 0 });
  });
});
