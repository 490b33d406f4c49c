// Device memory with and without pools, under the emulator.

import { afterEach, describe, expect, test } from 'vitest';
import { openCuda } from './node/addon.ts';
import { deviceMemory } from './node/memory.ts';
import { emulatorIsMissing } from './node/testing.ts';

describe.skipIf(emulatorIsMissing())('device memory', () => {
  afterEach(() => void delete process.env['DARKROOM_CUDA_EMULATOR_POOLS']);

  test.each(['1', '0'])('is taken and given back; pools: %s', (pools) => {
    process.env['DARKROOM_CUDA_EMULATOR_POOLS'] = pools;
    const { driver } = openCuda({ emulator: true });
    const memory = deviceMemory(driver, 0);
    expect(memory.ordered).toBe(pools === '1');
    const before = driver.memoryInfo().free;
    const address = memory.alloc(1000, 0);
    expect(driver.memoryInfo().free).toBe(before - 1000);
    memory.free(address, 0);
    memory.trim();
    expect(driver.memoryInfo().free).toBe(before);
    expect(() => memory.free(address, 0)).toThrow(/no allocation starts at the address given/);
  });
});
